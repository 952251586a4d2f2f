{{/* Fields that several objects share. */}}

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

{{- define "mcsa.labels.launcher" -}}
app.kubernetes.io/name: launcher
app.kubernetes.io/component: virtual-kubelet
app.kubernetes.io/part-of: multicluster-service-account
{{- end }}

{{/* The image fields of a container, from (dict "image" ... "chart" .Chart). */}}
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
The arguments of a container, from (dict "default" ... "extra" ...). An extra flag replaces the default one, because
the programs refuse repeated flags.
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

{{/* The fields of a pod for scheduling and image pulls, from the values of its Deployment. */}}
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

{{/* The importer's rules for imports, which apply cluster-wide, or in each namespace that it serves. */}}
{{- define "mcsa.importer.rules" -}}
# Imports. The importer writes only their status.
- apiGroups: [multicluster.admiralty.io]
  resources: [serviceaccountimports]
  verbs: [list, watch]
- apiGroups: [multicluster.admiralty.io]
  resources: [serviceaccountimports/status]
  verbs: [update]
# The importer reads the data of links only, in the system namespace, and the metadata of all other Secrets. RBAC
# can't express that. policy.yaml limits which Secrets it may write and delete. It deletes the Secret of an import
# that ImportPolicies with onRevoke: Delete no longer permit. The garbage collector deletes the Secret of a deleted
# import.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# Events on imports: failures and recoveries.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
