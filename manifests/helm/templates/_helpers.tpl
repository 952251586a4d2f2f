{{/* What several objects have alike. */}}

{{- define "mcsa.labels.importer" -}}
app.kubernetes.io/name: importer
app.kubernetes.io/component: controller
app.kubernetes.io/part-of: multicluster-service-account
{{- end }}

{{- define "mcsa.labels.webhook" -}}
app.kubernetes.io/name: webhook
app.kubernetes.io/component: admission
app.kubernetes.io/part-of: multicluster-service-account
{{- end }}

{{/* The fields of a container that say which image, of (dict "image" ... "chart" .Chart). */}}
{{- define "mcsa.image" -}}
{{- with .image.digest -}}
image: {{ $.image.repository }}@{{ . }}
{{- else -}}
image: {{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end }}
{{- with .image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{/*
The arguments of a container, of (dict "default" ... "extra" ...). A flag that is given takes the
default's place: nobody takes one twice.
*/}}
{{- define "mcsa.args" -}}
{{- $given := list }}
{{- range .extra }}
{{- $given = append $given (splitList "=" . | first) }}
{{- end }}
{{- $args := .extra }}
{{- range reverse .default }}
{{- if not (has (splitList "=" . | first) $given) }}
{{- $args = prepend $args . }}
{{- end }}
{{- end }}
{{- toYaml $args }}
{{- end }}

{{/* The fields of a pod that say where it runs and how it gets there, of the values of its Deployment. */}}
{{- define "mcsa.placement" }}
{{- with .priorityClassName }}
      priorityClassName: {{ . }}
{{- end }}
{{- with .image.pullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 6 }}
{{- end }}
{{- with .nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
{{- end }}
{{- with .tolerations }}
      tolerations: {{- toYaml . | nindent 6 }}
{{- end }}
{{- with .affinity }}
      affinity: {{- toYaml . | nindent 8 }}
{{- end }}
{{- end }}

{{/* What the importer may do where imports are: in all namespaces, or in each that it serves. */}}
{{- define "mcsa.importer.rules" -}}
# What is wanted. Imports are never written, only their status is.
- apiGroups: [multicluster.admiralty.io]
  resources: [serviceaccountimports]
  verbs: [list, watch]
- apiGroups: [multicluster.admiralty.io]
  resources: [serviceaccountimports/status]
  verbs: [update]
# Only links, in our own namespace, are read whole; of all others, only the metadata is listed, watched
# and got. RBAC has no words for that. policy.yaml says which may be written. There is no delete: the
# garbage collector deletes what an import owned.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch]
# Says on the import what failed, and that it is well again.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
