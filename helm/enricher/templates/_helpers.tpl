{{- /* Names and labels. */ -}}
{{- define "enricher.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "enricher.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "enricher.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "enricher.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "enricher.instance" -}}
app.kubernetes.io/name: {{ include "enricher.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Of the workers alone: Jobs have another component, so that no budget, scaler or monitor counts them. */ -}}
{{- define "enricher.selector" -}}
{{ include "enricher.instance" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "enricher.labels" -}}
{{ include "enricher.instance" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "enricher.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "enricher.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "enricher.secretName" -}}
{{- if .Values.secret.existing -}}
{{- .Values.secret.existing -}}
{{- else if .Values.secret.data -}}
{{- include "enricher.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "enricher.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* A setting by its name (dots between), as JSON; empty where it is not given. */ -}}
{{- define "enricher.setting" -}}
{{- $node := dict "value" .root.Values.config -}}
{{- range splitList "." .name -}}
{{- $at := get $node "value" -}}
{{- if and (kindIs "map" $at) (hasKey $at .) -}}
{{- $_ := set $node "value" (get $at .) -}}
{{- else -}}
{{- $_ := set $node "value" nil -}}
{{- end -}}
{{- end -}}
{{- with (get $node "value") -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{- /* The input topics as a JSON array: the setting is a list, or text with commas. */ -}}
{{- define "enricher.topics" -}}
{{- $topics := dig "input" "topics" list .Values.config -}}
{{- if kindIs "string" $topics -}}
{{- $found := list -}}
{{- range splitList "," $topics -}}{{- $found = append $found (trim .) -}}{{- end -}}
{{- toJson $found -}}
{{- else -}}
{{- toJson $topics -}}
{{- end -}}
{{- end -}}

{{- define "enricher.brokers" -}}
{{- $brokers := dig "kafka" "bootstrap_servers" "" .Values.config -}}
{{- if kindIs "string" $brokers -}}{{ $brokers }}{{- else -}}{{ join "," $brokers }}{{- end -}}
{{- end -}}

{{- define "enricher.group" -}}
{{- dig "kafka" "group_id" "enricher" .Values.config -}}
{{- end -}}

{{- define "enricher.deadLetterTopic" -}}
{{- $topics := include "enricher.topics" . | fromJsonArray -}}
{{- default (printf "%s.dlq" (first (append $topics ""))) (dig "output" "dead_letter_topic" "" .Values.config) -}}
{{- end -}}

{{- /* The port of http.listen. */ -}}
{{- define "enricher.port" -}}
{{- $listen := dig "http" "listen" "0.0.0.0:8080" .Values.config | toString -}}
{{- regexFind "[0-9]+$" $listen -}}
{{- end -}}

{{- /* Seconds, rounded up, of a duration such as 250ms, 5s, 2m, 1.5h. */ -}}
{{- define "enricher.seconds" -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $factors := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 -}}
{{- mulf $number (get $factors $unit) | ceil | int -}}
{{- end -}}

{{- /* The drain, and what comes before and after it in a pod. */ -}}
{{- define "enricher.gracePeriod" -}}
{{- $drain := include "enricher.seconds" (dig "shutdown" "deadline" "25s" .Values.config) | int -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add $drain 10 -}}
{{- else -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{- define "enricher.autoscaled" -}}
{{- if or .Values.autoscaling.enabled .Values.keda.enabled -}}true{{- end -}}
{{- end -}}

{{- define "enricher.workloadKind" -}}
{{- ternary "StatefulSet" "Deployment" .Values.staticMembership.enabled -}}
{{- end -}}

{{- /* A name that Kubernetes takes, of a topic. */ -}}
{{- define "enricher.objectName" -}}
{{- . | lower | replace "_" "-" | trunc 63 | trimAll "-." -}}
{{- end -}}
