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

{{/* Quantities as strings, which people also write as numbers: {"cpu": 1}. */}}
{{- define "sallyport.quantities" -}}
{{- $result := dict -}}
{{- range $name, $value := . -}}{{- $_ := set $result $name (toString $value) -}}{{- end -}}
{{- $result | toJson -}}
{{- end }}

{{/* settings.json of the operator, in the shape of contract/operator-settings.ts. */}}
{{- define "sallyport.settings" -}}
{{- $proxy := omit .Values.proxy "resources" "stateClaim" -}}
{{- $_ := set $proxy "image" (include "sallyport.image" .) -}}
{{- $_ := set $proxy "imagePullPolicy" .Values.image.pullPolicy -}}
{{- $_ := set $proxy "imagePullSecrets" (include "sallyport.pullSecretNames" . | fromJsonArray) -}}
{{- $_ := set $proxy "stateClaim" (.Values.proxy.stateClaim | default nil) -}}
{{- $_ := set $proxy "resources" (dict
  "requests" (include "sallyport.quantities" (.Values.proxy.resources.requests | default dict) | fromJson)
  "limits" (include "sallyport.quantities" (.Values.proxy.resources.limits | default dict) | fromJson)) -}}
{{- dict
  "namespace" .Release.Namespace
  "watchNamespaces" (.Values.watchNamespaces | uniq)
  "leaderElection" .Values.operator.leaderElection
  "logLevel" .Values.operator.logLevel
  "identityAliases" .Values.identity.aliases
  "integrityProbeSeconds" .Values.operator.integrityProbeSeconds
  "retention" .Values.retention
  "proxy" $proxy | mustToPrettyJson -}}
{{- end }}

{{/* What a schema cannot say, in the words of who has to mend it. */}}
{{- define "sallyport.validate" -}}
{{- if and .Values.proxy.stateClaim (gt (int .Values.proxy.replicas) 1) }}
{{- fail "proxy.stateClaim needs proxy.replicas: 1, because a claim is not shared" }}
{{- end }}
{{- if and (not .Values.operator.leaderElection) (gt (int .Values.operator.replicas) 1) }}
{{- fail "operator.leaderElection: false needs operator.replicas: 1, because two operators without it would both write" }}
{{- end }}
{{- if lt (int .Values.proxy.listenPorts.last) (int .Values.proxy.listenPorts.first) }}
{{- fail "proxy.listenPorts.last must not be below proxy.listenPorts.first" }}
{{- end }}
{{- range $where, $labels := dict "commonLabels" .Values.commonLabels "commonAnnotations" .Values.commonAnnotations "operator.podLabels" .Values.operator.podLabels }}
{{- range $key, $_ := $labels }}
{{- if regexMatch "^(app[.]kubernetes[.]io|helm[.]sh)/" $key }}
{{- fail (printf "%s must not have %s, because the chart sets what begins so" $where $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
