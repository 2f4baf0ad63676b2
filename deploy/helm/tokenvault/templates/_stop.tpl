{{- /* What a stop may take: the pause, the time in which balancers hear of it, the requests in hand, and a spent refresh token's answer that waits for Redis. */}}
{{- define "tokenvault.stopSeconds" -}}
{{- with .Values.stop }}{{ add .preStopSeconds .shutdownDelaySeconds .shutdownGraceSeconds .spendSeconds 5 }}{{ end }}
{{- end }}

{{- define "tokenvault.terminationGracePeriodSeconds" -}}
{{- $least := include "tokenvault.stopSeconds" . | int }}
{{- $given := .Values.terminationGracePeriodSeconds | int }}
{{- if and $given (lt $given $least) }}
{{- fail (printf "terminationGracePeriodSeconds is %d, but a stop may take %d (the sum of `stop`, and 5): leave it at 0, or give it at least that" $given $least) }}
{{- end }}
{{- $given | default $least }}
{{- end }}

{{- /* Refuses what would let Kubernetes kill a vault that holds the only live refresh token of a job. Nothing is rendered. Called with
       (list $ CONFIG), the configuration as the vault reads it, as far as it can be seen. */}}
{{- define "tokenvault.checkStop" -}}
{{- $values := (first .).Values }}
{{- $config := last . }}
{{- $least := include "tokenvault.stopSeconds" (first .) | int }}
{{- range $probe := list "livenessProbe" "startupProbe" }}
{{- with (get $values $probe | default dict).terminationGracePeriodSeconds }}
{{- if lt (int .) $least }}
{{- fail (printf "%s.terminationGracePeriodSeconds is %v, but a stop may take %d (the sum of `stop`, and 5): leave it out, and the pod's own counts" $probe . $least) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* A spend looks its lease up in Redis, waits for Keycloak, and writes the answer into Redis. */}}
{{- $redis := mulf 2 (addf (include "tokenvault.seconds" (list $config "redis.connect_timeout" 2)) (include "tokenvault.seconds" (list $config "redis.response_timeout" 2))) }}
{{- if gt (include "tokenvault.seconds" (list $config "redis.ack_replicas" 0) | float64) 0.0 }}
{{- $redis = addf $redis (include "tokenvault.seconds" (list $config "redis.ack_timeout" 0.5)) }}
{{- end }}
{{- $waits := dict "two thirds of renewal.quarantine" (divf (mulf 2 (include "tokenvault.seconds" (list $config "renewal.quarantine" 30))) 3) }}
{{- /* The vault itself refuses a request_timeout that is longer than those; told here it does not cost a rollout. */}}
{{- $keys := list "keycloak.request_timeout" }}
{{- range $tenant, $_ := $config.tenants | default dict }}
{{- $keys = append $keys (printf "tenants.%s.request_timeout" $tenant) }}
{{- end }}
{{- range $keys }}
{{- $_ := set $waits . (include "tokenvault.seconds" (list $config . 0) | float64) }}
{{- end }}
{{- range $what, $seconds := $waits }}
{{- $spend := addf $seconds $redis | ceil }}
{{- if lt (float64 $values.stop.spendSeconds) $spend }}
{{- fail (printf "stop.spendSeconds is %v, but the answer to a spent refresh token may take %v (%s, and twice the timeouts of [redis]): give it at least that" $values.stop.spendSeconds $spend $what) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The number at a dotted key. Called with (list CONFIG KEY DEFAULT); a tenant's name has no dot. */}}
{{- define "tokenvault.seconds" -}}
{{- $key := index . 1 }}
{{- $value := first . }}
{{- range splitList "." $key }}
{{- if kindIs "map" $value }}{{ $value = get $value . }}{{ else }}{{ $value = "" }}{{ end }}
{{- end }}
{{- if eq (toString $value) "" }}{{ $value = last . }}{{ end }}
{{- if not (has (kindOf $value) (list "int" "int64" "float64")) }}
{{- fail (printf "%s is set to something that is no number here, but what a stop may take depends on it: give the number itself" $key) }}
{{- end }}
{{- float64 $value }}
{{- end }}

{{- /* Lays the variables of a container over the configuration, as the vault does. Nothing is rendered; called with (list CONFIG ENV),
       and changes CONFIG. A value that is only known later, as with `valueFrom`, is a text. */}}
{{- define "tokenvault.override" -}}
{{- $config := first . }}
{{- range last . }}
{{- $key := include "tokenvault.overridden" .name }}
{{- if $key }}
{{- $value := .value | default "of a variable" }}
{{- if regexMatch "^[0-9]+([.][0-9]+)?$" $value }}{{ $value = float64 $value }}{{ end }}
{{- $table := $config }}
{{- range initial (splitList "." $key) }}
{{- if not (kindIs "map" (get $table .)) }}{{ $_ := set $table . dict }}{{ end }}
{{- $table = get $table . }}
{{- end }}
{{- $_ := set $table (last (splitList "." $key)) $value }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The dotted key that a variable overrides, nothing where it overrides none. The vault knows the names in any case. */}}
{{- define "tokenvault.overridden" -}}
{{- $name := upper . }}
{{- if and (hasPrefix "TOKENVAULT_" $name) (contains "__" (trimPrefix "TOKENVAULT_" $name)) }}
{{- trimPrefix "TOKENVAULT_" $name | lower | replace "__" "." }}
{{- end }}
{{- end }}
