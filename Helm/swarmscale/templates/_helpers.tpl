{{/* The chart's name, or what stands in its place. */}}
{{- define "swarmscale.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 36 | trimSuffix "-" }}
{{- end }}

{{/* The beginning of every object's name: short enough for the suffixes, within 63 characters. */}}
{{- define "swarmscale.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" }}
{{- else }}
{{- $name := include "swarmscale.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 36 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 36 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of the controller's objects. */}}
{{- define "swarmscale.controller" -}}
{{ include "swarmscale.fullname" . }}-controller
{{- end }}

{{/*
The beginning of the names of objects that belong to the cluster: installations that serve one namespace each may share their
release's name.
*/}}
{{- define "swarmscale.clusterName" -}}
{{- include "swarmscale.fullname" . }}
{{- if .Values.watchNamespace }}-{{ .Release.Namespace }}{{ end }}
{{- end }}

{{/* Not empty where the coordinator runs. */}}
{{- define "swarmscale.coordinates" -}}
{{- if .Values.coordinator.enabled }}yes{{ end }}
{{- end }}

{{/* Not empty where the webhook runs. */}}
{{- define "swarmscale.admits" -}}
{{- if .Values.webhook.enabled }}yes{{ end }}
{{- end }}

{{/* Not empty where external metrics are served. */}}
{{- define "swarmscale.bridgesHPA" -}}
{{- if .Values.bridges.externalMetrics.enabled }}yes{{ end }}
{{- end }}

{{/* Not empty where KEDA's external scaler runs. */}}
{{- define "swarmscale.bridgesKEDA" -}}
{{- if .Values.bridges.keda.enabled }}yes{{ end }}
{{- end }}

{{/* Not empty where the one namespace that is served is the one that the controller runs in. */}}
{{- define "swarmscale.servesItsOwnNamespace" -}}
{{- if eq .Values.watchNamespace .Release.Namespace }}yes{{ end }}
{{- end }}

{{/* Not empty where the chart makes a PriorityClass, which is the cluster's. */}}
{{- define "swarmscale.makesPriorityClass" -}}
{{- if and .Values.priorityClass.create (not .Values.priorityClassName) (not .Values.watchNamespace) }}yes{{ end }}
{{- end }}

{{- define "swarmscale.bridges" -}}
{{ include "swarmscale.fullname" . }}-bridges
{{- end }}

{{- define "swarmscale.coordinator" -}}
{{ include "swarmscale.fullname" . }}-coordinator
{{- end }}

{{- define "swarmscale.webhook" -}}
{{ include "swarmscale.fullname" . }}-webhook
{{- end }}

{{/* The webhook configurations' name. */}}
{{- define "swarmscale.webhookConfiguration" -}}
{{ include "swarmscale.clusterName" . }}-webhook
{{- end }}

{{/* Not empty where a server shows the controller's certificate, and not one of a Secret of its own. */}}
{{- define "swarmscale.needsCertificate" -}}
{{- if or (include "swarmscale.bridgesHPA" .) (and .Values.bridges.keda.tls (include "swarmscale.bridgesKEDA" .)) (and (include "swarmscale.coordinates" .) (not .Values.coordinator.certificateSecret)) (and (include "swarmscale.admits" .) (not .Values.webhook.certificateSecret)) }}yes{{ end }}
{{- end }}

{{/* Not empty where cert-manager makes that certificate. */}}
{{- define "swarmscale.certManaged" -}}
{{- if and .Values.certManager.enabled (include "swarmscale.needsCertificate" .) }}yes{{ end }}
{{- end }}

{{/* The Certificate of cert-manager, and the Secret that it fills. */}}
{{- define "swarmscale.serving" -}}
{{ include "swarmscale.fullname" . }}-serving
{{- end }}

{{/* The annotation by which cert-manager fills in caBundle; empty: cert-manager doesn't. */}}
{{- define "swarmscale.injectAuthority" -}}
{{- if include "swarmscale.certManaged" . }}
cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "swarmscale.serving" . }}
{{- end }}
{{- end }}

{{/* Not empty where the controller keeps the webhook configurations' caBundle. */}}
{{- define "swarmscale.keepsWebhookBundle" -}}
{{- if and (include "swarmscale.admits" .) (not .Values.webhook.certificateSecret) (not .Values.certManager.enabled) }}yes{{ end }}
{{- end }}

{{/* The Secret of the certificates that the controller makes; empty: it makes none. */}}
{{- define "swarmscale.certificates" -}}
{{- if and (include "swarmscale.needsCertificate" .) (not .Values.certManager.enabled) }}
{{- include "swarmscale.fullname" . }}-certificates
{{- end }}
{{- end }}

{{/* Volumes of the pod: certificates that aren't the controller's own, and the user's. */}}
{{- define "swarmscale.volumes" -}}
{{- $volumes := list }}
{{- if include "swarmscale.certManaged" . }}
{{- $volumes = append $volumes (dict "name" "certificates" "secret" (dict "secretName" (include "swarmscale.serving" .))) }}
{{- end }}
{{- if and (include "swarmscale.admits" .) .Values.webhook.certificateSecret }}
{{- $volumes = append $volumes (dict "name" "webhook-certificate" "secret" (dict "secretName" .Values.webhook.certificateSecret)) }}
{{- end }}
{{- if and (include "swarmscale.coordinates" .) .Values.coordinator.certificateSecret }}
{{- $volumes = append $volumes (dict "name" "coordinator-certificate" "secret" (dict "secretName" .Values.coordinator.certificateSecret)) }}
{{- end }}
{{- with concat $volumes .Values.extraVolumes }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "swarmscale.volumeMounts" -}}
{{- $mounts := list }}
{{- if include "swarmscale.certManaged" . }}
{{- $mounts = append $mounts (dict "name" "certificates" "mountPath" "/var/run/swarmscale/certificates" "readOnly" true) }}
{{- end }}
{{- if and (include "swarmscale.admits" .) .Values.webhook.certificateSecret }}
{{- $mounts = append $mounts (dict "name" "webhook-certificate" "mountPath" "/var/run/swarmscale/webhook" "readOnly" true) }}
{{- end }}
{{- if and (include "swarmscale.coordinates" .) .Values.coordinator.certificateSecret }}
{{- $mounts = append $mounts (dict "name" "coordinator-certificate" "mountPath" "/var/run/swarmscale/coordinator" "readOnly" true) }}
{{- end }}
{{- with concat $mounts .Values.extraVolumeMounts }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "swarmscale.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "swarmscale.controller" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Labels that never change: a Deployment's selector can't be edited. */}}
{{- define "swarmscale.selector" -}}
app.kubernetes.io/name: {{ include "swarmscale.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{/* Labels of every object. */}}
{{- define "swarmscale.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "swarmscale.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels and annotations of an object of the controller. */}}
{{- define "swarmscale.labelsAndAnnotations" -}}
labels:
  {{- include "swarmscale.labels" . | nindent 2 }}
  app.kubernetes.io/component: controller
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The image by digest, else by tag. */}}
{{- define "swarmscale.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The flags of the controller: those without a value are left out. */}}
{{- define "swarmscale.args" -}}
{{- $c := .Values.controller -}}
- --listen={{ $c.listenHost }}:{{ $c.port }}
{{- if not $c.page }}
- --no-page
{{- end }}
{{- if include "swarmscale.coordinates" . }}
- --coordinator-listen={{ $c.listenHost }}:{{ .Values.coordinator.port }}
{{- if ne (include "swarmscale.coordinator" .) "swarmscale-coordinator" }}
- --coordinator-service={{ include "swarmscale.coordinator" . }}
{{- end }}
{{- if .Values.coordinator.certificateSecret }}
- --coordinator-certificate=/var/run/swarmscale/coordinator/tls.crt
- --coordinator-key=/var/run/swarmscale/coordinator/tls.key
{{- if include "swarmscale.admits" . }}
- --worker-ca=/var/run/swarmscale/coordinator/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- if include "swarmscale.admits" . }}
- --webhook-listen={{ $c.listenHost }}:{{ .Values.webhook.port }}
{{- if ne (include "swarmscale.webhook" .) "swarmscale-webhook" }}
- --webhook-service={{ include "swarmscale.webhook" . }}
{{- end }}
{{- if ne (include "swarmscale.webhookConfiguration" .) "swarmscale-webhook" }}
- --webhook-configuration={{ include "swarmscale.webhookConfiguration" . }}
{{- end }}
{{- if .Values.webhook.certificateSecret }}
- --webhook-certificate=/var/run/swarmscale/webhook/tls.crt
- --webhook-key=/var/run/swarmscale/webhook/tls.key
{{- end }}
{{- $image := include "swarmscale.image" . }}
{{- if ne (default $image .Values.webhook.sidecarImage) (printf "swarmscale/swarmscale:%s" .Chart.AppVersion) }}
- --sidecar-image={{ default $image .Values.webhook.sidecarImage }}
{{- end }}
{{- end }}
{{- if and (include "swarmscale.certificates" .) (ne (include "swarmscale.certificates" .) "swarmscale-certificates") }}
- --certificate-secret={{ include "swarmscale.certificates" . }}
{{- end }}
{{- if include "swarmscale.certManaged" . }}
- --certificate-folder=/var/run/swarmscale/certificates
{{- end }}
{{- if $c.leaderElection.enabled }}
- --leader-election-namespace=$(POD_NAMESPACE)
- --leader-election-name={{ include "swarmscale.controller" . }}
{{- else }}
- --no-leader-election
{{- end }}
{{- with .Values.watchNamespace }}
- --namespace={{ . }}
{{- end }}
{{- if include "swarmscale.bridgesHPA" . }}
- --external-metrics-listen={{ $c.listenHost }}:{{ .Values.bridges.externalMetrics.port }}
{{- end }}
{{- if include "swarmscale.bridgesKEDA" . }}
- --keda-listen={{ $c.listenHost }}:{{ .Values.bridges.keda.port }}
{{- if .Values.bridges.keda.tls }}
- --keda-tls
{{- end }}
{{- end }}
{{- if and (or (include "swarmscale.bridgesHPA" .) (include "swarmscale.bridgesKEDA" .)) (ne (include "swarmscale.bridges" .) "swarmscale-bridges") }}
- --bridge-service={{ include "swarmscale.bridges" . }}
{{- end }}
{{- range $flag, $value := dict "sync-period" $c.syncPeriod "concurrent-syncs" $c.concurrentSyncs "tolerance" $c.tolerance "downscale-stabilization" $c.downscaleStabilization "cpu-initialization-period" $c.cpuInitializationPeriod "initial-readiness-delay" $c.initialReadinessDelay "log-format" $c.logFormat "log-level" $c.logLevel "lease-duration" $c.leaderElection.leaseDuration "renew-deadline" $c.leaderElection.renewDeadline "retry-period" $c.leaderElection.retryPeriod }}
{{- if $value }}
- --{{ $flag }}={{ $value }}
{{- end }}
{{- end }}
{{- range $c.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
