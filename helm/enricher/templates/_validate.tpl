{{- /* Contradictions, which end the rendering. Included by the ConfigMap, which is always rendered. */ -}}
{{- define "enricher.validate" -}}
{{- $root := . -}}
{{- $given := concat (keys .Values.secret.env) (list) -}}
{{- range .Values.extraEnv -}}{{- $given = append $given .name -}}{{- end -}}
{{- if not .Values.extraEnvFrom -}}
{{- range list "kafka.bootstrap_servers" "input.topics" "output.topic" "service.url" -}}
{{- $variable := printf "ENRICHER_%s" (. | replace "." "__" | upper) -}}
{{- if and (not (include "enricher.setting" (dict "root" $root "name" .))) (not (has $variable $given)) -}}
{{- fail (printf "config.%s is needed (or %s in extraEnv or secret.env)" . $variable) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.image.tag "latest") (not .Values.image.digest) -}}
{{- fail "image.tag is latest, which is another image each day: give a version, or image.digest" -}}
{{- end -}}
{{- $listen := dig "http" "listen" "0.0.0.0:8080" .Values.config | toString -}}
{{- if or (eq $listen "off") (eq $listen "false") -}}
{{- fail "config.http.listen is off: the probes need it" -}}
{{- end -}}
{{- if or (hasPrefix "127." $listen) (hasPrefix "localhost:" $listen) (hasPrefix "[::1]" $listen) (hasSuffix ":0" $listen) -}}
{{- fail (printf "config.http.listen is %s, where no probe reaches it: 0.0.0.0 and a port, or leave it out" $listen) -}}
{{- end -}}
{{- $drain := include "enricher.seconds" (dig "shutdown" "deadline" "25s" .Values.config) | int -}}
{{- if le (int (include "enricher.gracePeriod" .)) $drain -}}
{{- fail (printf "terminationGracePeriodSeconds (%s) is not more than config.shutdown.deadline (%d s): the drain would be cut off" (include "enricher.gracePeriod" .) $drain) -}}
{{- end -}}
{{- $consumer := mergeOverwrite (dict) (dig "kafka" "properties" (dict) .Values.config) (dig "kafka" "consumer" (dict) .Values.config) -}}
{{- if or (hasKey $consumer "group.instance.id") (include "enricher.setting" (dict "root" . "name" "kafka.group_instance_id")) -}}
{{- fail "config names one member of the group, and all pods would claim to be it: use staticMembership.enabled" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled .Values.keda.enabled -}}
{{- fail "autoscaling.enabled and keda.enabled exclude each other: KEDA makes a HorizontalPodAutoscaler of its own" -}}
{{- end -}}
{{- if and .Values.keda.enabled (gt (int .Values.keda.minReplicas) (int .Values.keda.maxReplicas)) -}}
{{- fail "keda.minReplicas is more than keda.maxReplicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.keda.enabled (or (not (include "enricher.setting" (dict "root" . "name" "input.topics"))) (not (include "enricher.setting" (dict "root" . "name" "kafka.bootstrap_servers")))) -}}
{{- fail "keda.enabled needs config.input.topics and config.kafka.bootstrap_servers: KEDA does not see the pods' environment" -}}
{{- end -}}
{{- range list "bootstrapServers" "consumerGroup" "topic" "lagThreshold" "offsetResetPolicy" "allowIdleConsumers" "excludePersistentLag" -}}
{{- if hasKey $root.Values.keda.metadata . -}}
{{- fail (printf "keda.metadata.%s is set by the chart" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.keda.authenticationRef .Values.keda.secretTargetRef -}}
{{- fail "keda.authenticationRef and keda.secretTargetRef exclude each other" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "serviceMonitor.enabled and podMonitor.enabled exclude each other: everything would be scraped twice" -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (not (kindIs "invalid" .Values.podDisruptionBudget.minAvailable)) (not (kindIs "invalid" .Values.podDisruptionBudget.maxUnavailable)) -}}
{{- fail "podDisruptionBudget.minAvailable and .maxUnavailable exclude each other: set one of them to null" -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (kindIs "invalid" .Values.podDisruptionBudget.minAvailable) (kindIs "invalid" .Values.podDisruptionBudget.maxUnavailable) -}}
{{- fail "podDisruptionBudget needs minAvailable or maxUnavailable" -}}
{{- end -}}
{{- if and .Values.secret.existing .Values.secret.data -}}
{{- fail "secret.existing and secret.data exclude each other" -}}
{{- end -}}
{{- if and .Values.secret.env (not (include "enricher.secretName" .)) -}}
{{- fail "secret.env needs secret.existing or secret.data" -}}
{{- end -}}
{{- if and .Values.secret.data .Values.secret.env -}}
{{- range $variable, $key := .Values.secret.env -}}
{{- if not (hasKey $root.Values.secret.data $key) -}}
{{- fail (printf "secret.env takes %s from the key %s, which secret.data has not" $variable $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range list "replay" "redrive" -}}
{{- $job := get $root.Values . -}}
{{- if and $job.enabled (not $job.name) -}}
{{- fail (printf "%s.name is needed: a Job cannot be changed, so each one has a name of its own" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.redrive.enabled (not .Values.redrive.args) -}}
{{- fail "redrive.args is needed: which dead letters to send back, such as [\"--stage\", \"lookup\"] or [\"--all\"]" -}}
{{- end -}}
{{- if and .Values.replay.enabled (not .Values.replay.args) -}}
{{- fail "replay.args is needed: what to replay, such as [\"--from\", \"2026-11-01T00:00Z\"]" -}}
{{- end -}}
{{- if and (or .Values.strimzi.topics.enabled .Values.strimzi.user.enabled) (not .Values.strimzi.cluster) -}}
{{- fail "strimzi.cluster is needed: the name of the Kafka cluster" -}}
{{- end -}}
{{- if and (or .Values.strimzi.topics.enabled .Values.strimzi.user.enabled) (or (not (include "enricher.setting" (dict "root" . "name" "input.topics"))) (not (include "enricher.setting" (dict "root" . "name" "output.topic")))) -}}
{{- fail "strimzi needs config.input.topics and config.output.topic" -}}
{{- end -}}
{{- with .Values.strimzi.topics.input -}}
{{- $most := ternary $root.Values.keda.maxReplicas $root.Values.autoscaling.maxReplicas $root.Values.keda.enabled | int -}}
{{- if and $root.Values.strimzi.topics.enabled (include "enricher.autoscaled" $root) (gt $most (int .partitions)) -}}
{{- fail (printf "the autoscaler's maxReplicas (%d) is more than strimzi.topics.input.partitions (%d): the others would be idle" $most (int .partitions)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
