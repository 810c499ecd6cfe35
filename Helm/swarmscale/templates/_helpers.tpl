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
{{- if $c.leaderElection.enabled }}
- --leader-election-namespace=$(POD_NAMESPACE)
- --leader-election-name={{ include "swarmscale.controller" . }}
{{- else }}
- --no-leader-election
{{- end }}
{{- with .Values.watchNamespace }}
- --namespace={{ . }}
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
