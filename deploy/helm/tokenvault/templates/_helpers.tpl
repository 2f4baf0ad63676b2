{{- define "tokenvault.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- end }}

{{- /* The name label stays `tokenvault` whatever the chart's objects are called: the alerts look for a job of that name. */}}
{{- define "tokenvault.selector" -}}
app.kubernetes.io/name: tokenvault
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tokenvault.common" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tokenvault.labels" -}}
{{ include "tokenvault.selector" . }}
{{ include "tokenvault.common" . }}
{{- end }}

{{- /* The metadata's annotations: those of all objects and those of this one. Called with (list $ OWN). */}}
{{- define "tokenvault.annotations" -}}
{{- with merge (dict) (index . 1 | default dict) ((index . 0).Values.commonAnnotations | default dict) -}}
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

{{- /* Labels of the chart's own Redis; never those the vault's Service selects. */}}
{{- define "tokenvault.redisSelector" -}}
app.kubernetes.io/name: tokenvault-redis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* What a stop may take: the pause, the requests in hand, and a spent refresh token's answer that waits for Redis. */}}
{{- define "tokenvault.stopSeconds" -}}
{{- with .Values.stop }}{{ add .preStopSeconds .shutdownGraceSeconds .spendSeconds 5 }}{{ end }}
{{- end }}

{{- define "tokenvault.terminationGracePeriodSeconds" -}}
{{- $least := include "tokenvault.stopSeconds" . | int }}
{{- $given := .Values.terminationGracePeriodSeconds | int }}
{{- if and $given (lt $given $least) }}
{{- fail (printf "terminationGracePeriodSeconds is %d, but a stop may take %d (the sum of `stop`, and 5): leave it at 0, or give it at least that" $given $least) }}
{{- end }}
{{- $given | default $least }}
{{- end }}

{{- /* tokenvault.toml: the text of `config` with what other values add to it. */}}
{{- define "tokenvault.config" -}}
{{- .Values.config | trimSuffix "\n" }}
{{- if and .Values.adminPort (not (regexMatch "(?m)^\\s*\\[admin\\]" .Values.config)) }}

{{ .Values.adminConfig | trimSuffix "\n" }}
{{- end }}
{{- end }}

{{- /* Whether the chart mounts `adminSecret`: wherever it writes the section [admin] itself. */}}
{{- define "tokenvault.mountsAdmin" -}}
{{- if and .Values.adminPort .Values.adminSecret }}yes{{ end }}
{{- end }}
