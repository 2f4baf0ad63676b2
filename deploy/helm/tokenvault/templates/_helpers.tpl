{{- define "tokenvault.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tokenvault.selector" -}}
app.kubernetes.io/name: tokenvault
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tokenvault.labels" -}}
{{ include "tokenvault.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tokenvault.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "tokenvault.account" -}}
{{ .Values.serviceAccount.name | default (ternary (include "tokenvault.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}
