{{/* Labels of every object. Names of objects are fixed: admission policies, proxies and documentation name them. */}}
{{- define "sallyport.labels" -}}
app.kubernetes.io/name: sallyport-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: sallyport
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels by which the operator's pods are selected; they never change. */}}
{{- define "sallyport.selectorLabels" -}}
app.kubernetes.io/name: sallyport-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* metadata after the name: labels, and annotations where there are some. */}}
{{- define "sallyport.metadata" -}}
labels:
  {{- include "sallyport.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* metadata of a CustomResourceDefinition, after its name. */}}
{{- define "sallyport.crdMetadata" -}}
labels:
  {{- include "sallyport.labels" . | nindent 2 }}
{{- if or .Values.crds.keep .Values.commonAnnotations }}
annotations:
  {{- if .Values.crds.keep }}
  helm.sh/resource-policy: keep
  {{- end }}
  {{- with .Values.commonAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The image of operator and proxies, by digest where one is given. */}}
{{- define "sallyport.image" -}}
{{- $image := .Values.image -}}
{{- $repository := $image.repository -}}
{{- with .Values.global.imageRegistry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Names of the image pull secrets, as a JSON list. */}}
{{- define "sallyport.pullSecretNames" -}}
{{- $names := list -}}
{{- range concat (.Values.global.imagePullSecrets | default list) .Values.image.pullSecrets -}}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name")) -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end }}

{{/* settings.json of the operator, in the shape of contract/operator-settings.ts. */}}
{{- define "sallyport.settings" -}}
{{- $proxy := .Values.proxy -}}
{{- $settings := dict
  "namespace" .Release.Namespace
  "watchNamespaces" .Values.watchNamespaces
  "leaderElection" .Values.operator.leaderElection
  "logLevel" .Values.operator.logLevel
  "identityAliases" .Values.identity.aliases
  "integrityProbeSeconds" (int .Values.operator.integrityProbeSeconds)
  "retention" (dict
    "sessionHours" (int .Values.retention.sessionHours)
    "sessionsPerNamespace" (int .Values.retention.sessionsPerNamespace)
    "sessionsPerCluster" (int .Values.retention.sessionsPerCluster)
    "requestHours" (int .Values.retention.requestHours)
    "requestsPerNamespace" (int .Values.retention.requestsPerNamespace)
    "requestsPerCluster" (int .Values.retention.requestsPerCluster))
  "proxy" (dict
    "image" (include "sallyport.image" .)
    "imagePullPolicy" .Values.image.pullPolicy
    "imagePullSecrets" (include "sallyport.pullSecretNames" . | fromJsonArray)
    "replicas" (int $proxy.replicas)
    "drainSeconds" (int $proxy.drainSeconds)
    "staleness" $proxy.staleness
    "maxStalenessSeconds" (int $proxy.maxStalenessSeconds)
    "maxSessions" (int $proxy.maxSessions)
    "sessionObjects" $proxy.sessionObjects
    "stateClaim" $proxy.stateClaim
    "resources" $proxy.resources
    "nodeSelector" $proxy.nodeSelector
    "tolerations" $proxy.tolerations
    "metricsNamespaces" $proxy.metricsNamespaces
    "listenPorts" (dict "first" (int $proxy.listenPorts.first) "last" (int $proxy.listenPorts.last))
    "logLevel" $proxy.logLevel) -}}
{{- $settings | mustToPrettyJson -}}
{{- end }}
