{{/* What the operator does in each namespace that it serves: the only rules that differ between a ClusterRole and Roles. No wildcard anywhere, and no verb that nothing needs: e2e/scenarios/rbac-is-exact. */}}
{{- define "sallyport.operator.namespacedRules" -}}
- apiGroups: [sallyport.dev]
  resources: [targets, accesspolicies]
  verbs: [list, watch]
- apiGroups: [sallyport.dev]
  resources: [targets/status, accesspolicies/status, accessrequests/status, accesssessions/status, proxyconfigs/status]
  verbs: [patch]
- apiGroups: [sallyport.dev]
  resources: [proxyconfigs]
  verbs: [get, list, watch, create, patch, delete]
# blockOwnerDeletion, where OwnerReferencesPermissionEnforcement is on
- apiGroups: [sallyport.dev]
  resources: [proxyconfigs/finalizers]
  verbs: [update]
# delete: retention
- apiGroups: [sallyport.dev]
  resources: [accessrequests, accessdecisions]
  verbs: [list, watch, delete]
- apiGroups: [sallyport.dev]
  resources: [accesssessions]
  verbs: [get, list, watch, delete]
# delete on what garbage collection takes: asked for when an orphan gets its owner back, where OwnerReferencesPermissionEnforcement is on
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
# which proxies exist, and which of them are ready
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# bounded by the admission policies operator-grants-...
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [sallyport-proxy]
  verbs: [bind]
# get: to be allowed to grant it to a proxy, and for metadata; create: sallyport-... only. Never list, watch or update.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
# the CA that verifies the listeners
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What exists only once in a cluster, so that no Role can hold it. */}}
{{- define "sallyport.operator.clusterRules" -}}
- apiGroups: [sallyport.dev]
  resources: [identityproviders]
  verbs: [list, watch]
- apiGroups: [sallyport.dev]
  resources: [identityproviders/status]
  verbs: [patch]
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingadmissionpolicies, validatingadmissionpolicybindings]
  verbs: [list, watch]
{{- end }}
