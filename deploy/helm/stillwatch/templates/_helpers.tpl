{{- define "stillwatch.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "stillwatch.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "stillwatch.labels" -}}
{{ include "stillwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The configuration, without secrets. */}}
{{- define "stillwatch.configuration" -}}
mode = {{ .Values.mode | quote }}
{{- with .Values.settings }}
{{ . }}
{{- end }}

[kafka]
bootstrap = {{ required "kafka.bootstrap: name HOST:PORT,..." .Values.kafka.bootstrap | quote }}
prefix = {{ .Values.kafka.prefix | quote }}
group = {{ .Values.kafka.group | quote }}
security_protocol = {{ .Values.kafka.securityProtocol | quote }}
state_directory = "/var/lib/stillwatch"
{{- if hasPrefix "SASL" .Values.kafka.securityProtocol }}
sasl_mechanism = {{ .Values.kafka.saslMechanism | quote }}
username = {{ required "kafka.username: SASL needs one" .Values.kafka.username | quote }}
password_file = "/etc/stillwatch/secrets/kafka/password"
{{- end }}
{{- if .Values.kafka.tlsSecretName }}
ca_file = "/etc/stillwatch/secrets/tls/ca.crt"
{{- if .Values.kafka.clientCertificate }}
certificate_file = "/etc/stillwatch/secrets/tls/tls.crt"
key_file = "/etc/stillwatch/secrets/tls/tls.key"
{{- end }}
{{- end }}

[http]
bind = "0.0.0.0:{{ .Values.http.port }}"
{{- if .Values.http.tokenSecret.name }}
token_file = "/etc/stillwatch/secrets/http/token"
{{- end }}
{{- end }}

{{- define "stillwatch.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "stillwatch.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "stillwatch.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "stillwatch.mounts" -}}
- {name: scratch, mountPath: /tmp}
- {name: configuration, mountPath: /etc/stillwatch/stillwatch.toml, subPath: stillwatch.toml, readOnly: true}
- {name: fingerprint-key, mountPath: /etc/stillwatch/secrets/fingerprint, readOnly: true}
{{- if hasPrefix "SASL" .Values.kafka.securityProtocol }}
- {name: kafka-password, mountPath: /etc/stillwatch/secrets/kafka, readOnly: true}
{{- end }}
{{- if .Values.kafka.tlsSecretName }}
- {name: kafka-tls, mountPath: /etc/stillwatch/secrets/tls, readOnly: true}
{{- end }}
{{- if .Values.http.tokenSecret.name }}
- {name: http-token, mountPath: /etc/stillwatch/secrets/http, readOnly: true}
{{- end }}
{{- end }}

{{/* Call with (dict "root" . "configMap" NAME). */}}
{{- define "stillwatch.volumes" -}}
- name: scratch
  emptyDir: {sizeLimit: 1Gi}
- name: configuration
  configMap: {name: {{ .configMap }}}
- name: fingerprint-key
  secret:
    secretName: {{ required "fingerprintKey.secretName: name the secret with the key" .root.Values.fingerprintKey.secretName }}
    items: [{key: {{ .root.Values.fingerprintKey.key | quote }}, path: key}]
{{- if hasPrefix "SASL" .root.Values.kafka.securityProtocol }}
- name: kafka-password
  secret:
    secretName: {{ required "kafka.passwordSecret.name: SASL needs one" .root.Values.kafka.passwordSecret.name }}
    items: [{key: {{ .root.Values.kafka.passwordSecret.key | quote }}, path: password}]
{{- end }}
{{- with .root.Values.kafka.tlsSecretName }}
- name: kafka-tls
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .root.Values.http.tokenSecret }}
{{- if .name }}
- name: http-token
  secret:
    secretName: {{ .name }}
    items: [{key: {{ .key | quote }}, path: token}]
{{- end }}
{{- end }}
{{- end }}

{{/* A worker's container; call with (dict "root" . "role" "encode"). */}}
{{- define "stillwatch.container" -}}
name: {{ .role }}
image: {{ include "stillwatch.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
  - run
  - --roles={{ .role }}
  - --config=/etc/stillwatch/stillwatch.toml
  - --key-file=/etc/stillwatch/secrets/fingerprint/key
  - --log-format=json
securityContext:
  {{- include "stillwatch.containerSecurity" .root | nindent 2 }}
ports:
  - {name: http, containerPort: {{ .root.Values.http.port }}}
# A worker folds and restores in the thread that answers probes, so liveness is patient; the first start may compile.
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 5
  failureThreshold: 36
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
resources:
  {{- toYaml (index .root.Values .role).resources | nindent 2 }}
{{- end }}

{{/* What both workers' pods have in common; call as the container. */}}
{{- define "stillwatch.podTemplate" -}}
metadata:
  labels:
    {{- include "stillwatch.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    checksum/configuration: {{ include "stillwatch.configuration" .root | sha256sum }}
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "stillwatch.name" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # The worker stops within ten seconds by itself.
  terminationGracePeriodSeconds: 20
  securityContext:
    {{- include "stillwatch.podSecurity" .root | nindent 4 }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - {{- include "stillwatch.container" . | nindent 6 }}
      volumeMounts:
        {{- include "stillwatch.mounts" .root | nindent 8 }}
        {{- if eq .role "judge" }}
        - {name: state, mountPath: /var/lib/stillwatch}
        {{- end }}
  volumes:
    {{- include "stillwatch.volumes" (dict "root" .root "configMap" (include "stillwatch.name" .root)) | nindent 4 }}
  {{- with .root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
