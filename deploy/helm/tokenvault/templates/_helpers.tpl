{{- /* The name of the objects, which checks.yaml looks at. With `-internal` it still fits into the 63 letters of a Service's name. */}}
{{- define "tokenvault.name" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- regexReplaceAll "[-.]+$" (.Values.fullnameOverride | default $full | trunc 53) "" }}
{{- end }}

{{- /* The name of the Redis of the chart's own, which its certificate names: at most 52 letters, for Kubernetes makes a label of a
       StatefulSet's name, a dash and up to 10 more. */}}
{{- define "tokenvault.redisName" -}}
{{- regexReplaceAll "-+$" (include "tokenvault.name" . | trunc 46) "" }}-redis
{{- end }}

{{- /* The name label stays `tokenvault` whatever the chart's objects are called: the alerts look for a job of that name. */}}
{{- define "tokenvault.selector" -}}
app.kubernetes.io/name: tokenvault
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* Labels of the chart's own Redis; never those the vault's Service selects. */}}
{{- define "tokenvault.redisSelector" -}}
app.kubernetes.io/name: tokenvault-redis
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "tokenvault.common" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Maps laid over each other, so that no key stands twice: of two that say different things the later counts. What is null
       there is left out. */}}
{{- define "tokenvault.overlaid" -}}
{{- $all := dict }}
{{- range . }}
{{- range $key, $value := . }}
{{- if kindIs "invalid" $value }}{{ $_ := unset $all $key }}{{ else }}{{ $_ := set $all $key $value }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- /* The labels of one of the vault's objects. Called with (list $ OWN…); what objects are selected by counts before all. */}}
{{- define "tokenvault.labels" -}}
{{- include "tokenvault.labelled" (prepend . "tokenvault.selector") }}
{{- end }}

{{- /* The same for one of Redis' objects. */}}
{{- define "tokenvault.redisLabels" -}}
{{- include "tokenvault.labelled" (prepend . "tokenvault.redisSelector") }}
{{- end }}

{{- define "tokenvault.labelled" -}}
{{- $root := index . 1 }}
{{- $common := list (include "tokenvault.common" $root | fromYaml) $root.Values.commonLabels }}
{{- include "tokenvault.overlaid" (concat $common (slice . 2) (list (include (first .) $root | fromYaml))) }}
{{- end }}

{{- /* The metadata's annotations: those of all objects and those of this one. Called with (list $ OWN…). */}}
{{- define "tokenvault.annotations" -}}
{{- with include "tokenvault.overlaid" (prepend (rest .) (first .).Values.commonAnnotations) | fromYaml -}}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tokenvault.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "tokenvault.account" -}}
{{ .Values.serviceAccount.name | default (ternary (include "tokenvault.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "tokenvault.configmap" -}}
{{ .Values.existingConfigMap | default (include "tokenvault.name" .) }}
{{- end }}

{{- define "tokenvault.redisPort" -}}
{{ ternary 6380 6379 .Values.redis.tls.enabled }}
{{- end }}

{{- /* tokenvault.toml: the text of `config` with what other values add to it. */}}
{{- define "tokenvault.config" -}}
{{- .Values.config | trimSuffix "\n" }}
{{- if and .Values.adminPort (not (hasKey (fromToml .Values.config) "admin")) }}

{{ .Values.adminConfig | trimSuffix "\n" }}
{{- end }}
{{- end }}

{{- /* Whether the chart mounts `adminSecret`: wherever it writes the section [admin] itself. */}}
{{- define "tokenvault.mountsAdmin" -}}
{{- if and .Values.adminPort .Values.adminSecret }}yes{{ end }}
{{- end }}
