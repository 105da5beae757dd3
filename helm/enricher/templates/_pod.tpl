{{- /* What the pods of workers, Jobs and tests share. Argument: root, command (words), and for Jobs their values. */ -}}
{{- define "enricher.podBase" -}}
{{- $ := .root -}}
automountServiceAccountToken: false
{{- /* A Service's variables, ENRICHER_PORT and the like, would be taken for settings. */}}
enableServiceLinks: false
serviceAccountName: {{ include "enricher.serviceAccountName" $ }}
{{- with $.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $.Values.podSecurityContext | nindent 2 }}
{{- with $.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: config
    configMap:
      name: {{ .configMap }}
  - name: tmp
    emptyDir:
      sizeLimit: {{ $.Values.tmpSize }}
  {{- with include "enricher.secretName" $ }}
  - name: secret
    secret:
      secretName: {{ . }}
      defaultMode: 0440
  {{- end }}
  {{- with $.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "enricher.containerBase" -}}
{{- $ := .root -}}
image: {{ include "enricher.image" $ | quote }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
securityContext:
  {{- toYaml $.Values.securityContext | nindent 2 }}
args:
  {{- toYaml .args | nindent 2 }}
env:
  - name: ENRICHER_CONFIG
    value: /etc/enricher/enricher.yaml
  {{- range $variable, $key := $.Values.secret.env }}
  - name: {{ $variable }}
    valueFrom:
      secretKeyRef:
        name: {{ include "enricher.secretName" $ }}
        key: {{ $key }}
  {{- end }}
  {{- with .env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $.Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml (default $.Values.resources .resources) | nindent 2 }}
volumeMounts:
  - name: config
    mountPath: /etc/enricher/enricher.yaml
    subPath: enricher.yaml
    readOnly: true
  - name: tmp
    mountPath: /tmp
  {{- if include "enricher.secretName" $ }}
  - name: secret
    mountPath: {{ $.Values.secret.mountPath }}
    readOnly: true
  {{- end }}
  {{- with $.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "enricher.checksums" -}}
checksum/config: {{ toJson .Values.config | sha256sum }}
{{- if .Values.secret.data }}
checksum/secret: {{ toJson .Values.secret.data | sha256sum }}
{{- end }}
{{- end -}}
