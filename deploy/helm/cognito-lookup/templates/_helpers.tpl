{{- define "cognito-lookup.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 54 | trimSuffix "-" }}
{{- end }}

{{- define "cognito-lookup.fullname" -}}
{{- $name := include "cognito-lookup.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 54 | trimSuffix "-" }}
{{- end }}

{{- define "cognito-lookup.selector" -}}
app.kubernetes.io/name: {{ include "cognito-lookup.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* What the network policy admits: the pod of `helm test`. */}}
{{- define "cognito-lookup.testSelector" -}}
app.kubernetes.io/name: {{ include "cognito-lookup.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cognito-lookup.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "cognito-lookup.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "cognito-lookup.serviceAccount" -}}
{{- $own := .Values.serviceAccount.create | ternary (include "cognito-lookup.fullname" .) "default" }}
{{- .Values.serviceAccount.name | default $own }}
{{- end }}

{{- /* Fails with all required values that are missing. */}}
{{- define "cognito-lookup.minimum" -}}
{{- $missing := list }}
{{- if not .Values.image.repository }}
{{- $missing = append $missing "image.repository: name the image that you built from deploy/Dockerfile" }}
{{- end }}
{{- if not (or .Values.settings.user_pool_id .Values.settings.pools) }}
{{- $missing = append $missing "settings: name a pool and who may read what, for one pool as\n    --set settings.user_pool_id=eu-west-1_AbCdEfGhI --set 'settings.app_clients={APP_CLIENT_ID}' --set 'settings.attributes={name,email}'\n  or as settings.pools and settings.callers (README, \"Run it\")" }}
{{- end }}
{{- if $missing }}{{ fail (join "\n  " (prepend $missing "")) }}{{ end }}
{{- end }}

{{- define "cognito-lookup.image" -}}
{{- $image := .Values.image }}
{{- include "cognito-lookup.minimum" . }}
{{- $tag := $image.tag | default .Chart.AppVersion }}
{{- $image.repository }}:{{ $tag }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "cognito-lookup.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "cognito-lookup.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* The user's settings and those that follow from other values, as one table. */}}
{{- define "cognito-lookup.settings" -}}
{{- include "cognito-lookup.minimum" . }}
{{- $settings := deepCopy .Values.settings }}
{{- range $key, $instead := dict "listen" "service.address and service.grpcPort" "admin_listen" "service.adminPort" "shutdown" "shutdown.delaySeconds and shutdown.graceSeconds" "budget" "budget, for all replicas together" }}
{{- if hasKey $settings $key }}{{ fail (printf "settings.%s: set %s instead" $key $instead) }}{{ end }}
{{- end }}
{{- $tls := $settings.tls | default dict }}
{{- range $key := list "certificate" "key" "client_ca" "client_certificate" }}
{{- if hasKey $tls $key }}{{ fail (printf "settings.tls.%s: set tls.secretName and tls.clientCertificate instead" $key) }}{{ end }}
{{- end }}
{{- with .Values.tls.secretName }}
{{- $tls = merge $tls (dict "certificate" "/run/tls/tls.crt" "key" "/run/tls/tls.key" "client_certificate" $.Values.tls.clientCertificate) }}
{{- if ne $.Values.tls.clientCertificate "off" }}{{ $_ := set $tls "client_ca" "/run/tls/ca.crt" }}{{ end }}
{{- else }}
{{- if ne .Values.tls.clientCertificate "off" }}{{ fail "tls.clientCertificate: needs tls.secretName" }}{{ end }}
{{- end }}
{{- $audit := $settings.audit | default dict }}
{{- if hasKey $audit "key_file" }}{{ fail "settings.audit.key_file: set audit.keySecretName instead" }}{{ end }}
{{- if hasKey $audit "previous_key_file" }}{{ fail "settings.audit.previous_key_file: set audit.hasPreviousKey instead" }}{{ end }}
{{- if .Values.audit.keySecretName }}
{{- $_ := set $audit "key_file" "/run/audit/key" }}
{{- if .Values.audit.hasPreviousKey }}{{ $_ := set $audit "previous_key_file" "/run/audit/previous" }}{{ end }}
{{- else if .Values.audit.hasPreviousKey }}{{ fail "audit.hasPreviousKey: needs audit.keySecretName" }}
{{- end }}
{{- $shared := include "cognito-lookup.sharedCache" . | fromJson }}
{{- $most := include "cognito-lookup.mostPods" . | int }}
{{- $events := $settings.events | default dict }}
{{- if and $events.queue_url (eq ($events.scope | default "shared") "shared") (not $shared.index_key_file) }}
{{- fail "settings.events.queue_url: needs settings.shared_cache, through which a pod tells the others (docs/events.md)" }}
{{- end }}
{{- if and $events.queue_url (eq ($events.scope | default "shared") "own") (or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1)) }}
{{- fail "settings.events.scope: \"own\" is for one pod only, because a message reaches one of them; set shared" }}
{{- end }}
{{- /* The rates are those of all replicas together if they share them, and else of each replica. */}}
{{- $parts := 1 }}
{{- $budget := dict }}
{{- if or (not $shared.index_key_file) (eq .Values.budget.scope "own") }}
{{- $parts = $most }}
{{- if $shared.index_key_file }}{{ $_ := set $budget "scope" "own" }}{{ end }}
{{- end }}
{{- range $key, $value := dict "user_reads_per_second" .Values.budget.userReadsPerSecond "lists_per_second" .Values.budget.listsPerSecond "group_reads_per_second" .Values.budget.groupReadsPerSecond }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $budget $key (max 1 (div (int $value) $parts)) }}{{ end }}
{{- end }}
{{- $shutdown := dict "delay" (printf "%ds" (int .Values.shutdown.delaySeconds)) "grace" (printf "%ds" (int .Values.shutdown.graceSeconds)) }}
{{- if $shared.index_key_file }}{{ $shared = merge $shared (dict "replicas_at_most" $most) }}{{ end }}
{{- $cache := $settings.cache | default dict }}
{{- $half := div (include "cognito-lookup.memoryMiB" . | int) 2 }}
{{- if and (ge (int $half) 256) (not (hasKey $cache "max_bytes")) }}{{ $_ := set $cache "max_bytes" (printf "%dMiB" (int $half)) }}{{ end }}
{{- toJson (merge $settings (dict "audit" $audit "cache" $cache "tls" $tls "shared_cache" $shared "budget" $budget "shutdown" $shutdown)) }}
{{- end }}

{{- /* The most pods that can run at once: all replicas, those that a rollout adds, and as many that still drain. */}}
{{- define "cognito-lookup.mostPods" -}}
{{- $replicas := .Values.autoscaling.enabled | ternary .Values.autoscaling.maxReplicas .Values.replicaCount | int }}
{{- $surge := include "cognito-lookup.share" (dict "of" $replicas "value" .Values.rollout.maxSurge "up" true) | int }}
{{- $unavailable := include "cognito-lookup.share" (dict "of" $replicas "value" .Values.rollout.maxUnavailable "up" false) | int }}
{{- max 1 (add $replicas $surge (max 1 $surge $unavailable)) }}
{{- end }}

{{- /* A number, or a percentage of `of`, rounded as Kubernetes does. */}}
{{- define "cognito-lookup.share" -}}
{{- if hasSuffix "%" (toString .value) }}
{{- div (add (mul (trimSuffix "%" .value | int) .of) (.up | ternary 99 0)) 100 }}
{{- else }}{{ int .value }}{{ end }}
{{- end }}

{{- /* The memory limit in MiB; 0 if there is none, or if it is in another unit. */}}
{{- define "cognito-lookup.memoryMiB" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString }}
{{- if regexMatch "^[0-9]+Gi$" $limit }}{{ mul (trimSuffix "Gi" $limit | int) 1024 }}
{{- else if regexMatch "^[0-9]+Mi$" $limit }}{{ trimSuffix "Mi" $limit }}
{{- else }}0{{ end }}
{{- end }}

{{- /* The port of the collector of traces. */}}
{{- define "cognito-lookup.tracesPort" -}}
{{- with .Values.traces.endpoint }}
{{- regexFind ":[0-9]+(/|$)" . | trimAll ":/" | default (hasPrefix "https:" . | ternary "443" "80") }}
{{- end }}
{{- end }}

{{- /* The settings of the shared cache, with the files of its Secrets. */}}
{{- define "cognito-lookup.sharedCache" -}}
{{- $settings := deepCopy (.Values.settings.shared_cache | default dict) }}
{{- range $key, $instead := dict "index_key_file" "keySecretName" "value_key_files" "keySecretName" "password_file" "passwordSecretName" "ca_file" "caSecretName" "certificate" "certificateSecretName" "key" "certificateSecretName" }}
{{- if hasKey $settings $key }}{{ fail (printf "settings.shared_cache.%s: set sharedCache.%s instead" $key $instead) }}{{ end }}
{{- end }}
{{- $secrets := .Values.sharedCache }}
{{- $files := dict }}
{{- if $secrets.keySecretName }}
{{- $values := list }}
{{- range $secrets.valueKeys }}{{ $values = append $values (printf "/run/shared-cache/%s" .) }}{{ end }}
{{- $files = dict "index_key_file" "/run/shared-cache/index" "value_key_files" $values }}
{{- end }}
{{- if $secrets.passwordSecretName }}{{ $_ := set $files "password_file" "/run/shared-cache/password" }}{{ end }}
{{- if $secrets.caSecretName }}{{ $_ := set $files "ca_file" "/run/shared-cache/ca.crt" }}{{ end }}
{{- if $secrets.certificateSecretName }}
{{- $files = merge $files (dict "certificate" "/run/shared-cache/tls.crt" "key" "/run/shared-cache/tls.key") }}
{{- end }}
{{- if and (or $settings.url $settings.urls) (not $secrets.keySecretName) }}
{{- fail "sharedCache.keySecretName: name the Secret with the keys of settings.shared_cache (docs/replicas.md)" }}
{{- end }}
{{- if and $files (not (or $settings.url $settings.urls)) }}
{{- fail "sharedCache: set settings.shared_cache.url too" }}
{{- end }}
{{- toJson (merge $settings $files) }}
{{- end }}

{{- /* The ports of the URLs of the shared cache, and behind sentinels that of the primary. */}}
{{- define "cognito-lookup.sharedCachePorts" -}}
{{- $settings := .Values.settings.shared_cache | default dict }}
{{- $sentinel := eq ($settings.mode | default "") "sentinel" }}
{{- $ports := $sentinel | ternary (list "6379") list }}
{{- range concat ($settings.urls | default list) (compact (list $settings.url)) }}
{{- if not (hasPrefix "unix:" .) }}
{{- $ports = append $ports (regexFind ":[0-9]+/?$" . | trimAll ":/" | default ($sentinel | ternary "26379" "6379")) }}
{{- end }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{- /* A table in TOML. JSON strings, numbers, and lists of them are valid TOML. */}}
{{- define "cognito-lookup.toml" -}}
{{- range $key, $value := .table }}
{{- if eq (include "cognito-lookup.nesting" $value) "" }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- $path := .path }}
{{- range $key, $value := .table }}
{{- $inner := append $path $key }}
{{- $nesting := include "cognito-lookup.nesting" $value }}
{{- if and (eq $nesting "table") $value }}

[{{ join "." $inner }}]
{{- include "cognito-lookup.toml" (dict "path" $inner "table" $value) }}
{{- else if eq $nesting "tables" }}
{{- range $value }}

[[{{ join "." $inner }}]]
{{- include "cognito-lookup.toml" (dict "path" $inner "table" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "cognito-lookup.nesting" -}}
{{- if kindIs "map" . }}table{{ else if and (kindIs "slice" .) . }}{{ if kindIs "map" (first .) }}tables{{ end }}{{ end }}
{{- end }}
