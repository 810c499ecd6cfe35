extension SwarmAutoscaler.Spec {
  /// The fields of a Spec, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("scaleTargetRef", .object(SwarmAutoscaler.ScaleTargetReference.shape)),
    FieldShape("minReplicas", .int32),
    FieldShape("maxReplicas", .int32),
    FieldShape("metrics", .list(.object(SwarmAutoscaler.MetricSpec.shape))),
    FieldShape("behavior", .object(SwarmAutoscaler.Behavior.shape)),
    FieldShape("drain", .object(SwarmAutoscaler.Drain.shape)),
    FieldShape("fallback", .object(SwarmAutoscaler.Fallback.shape)),
    FieldShape("embed", .object(SwarmAutoscaler.Embed.shape)),
    FieldShape("dryRun", .boolean),
    FieldShape("syncPeriodSeconds", .int32),
  ]
}

extension SwarmAutoscaler.ScaleTargetReference {
  /// The fields of a ScaleTargetReference, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("apiVersion", .string),
    FieldShape("kind", .string),
    FieldShape("name", .string),
  ]
}

extension SwarmAutoscaler.ObjectReference {
  /// The fields of a ObjectReference, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("apiVersion", .string),
    FieldShape("kind", .string),
    FieldShape("name", .string),
  ]
}

extension SwarmAutoscaler.MetricSpec {
  /// The fields of a MetricSpec, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("type", .string),
    FieldShape("resource", .object(SwarmAutoscaler.ResourceMetric.shape)),
    FieldShape("containerResource", .object(SwarmAutoscaler.ContainerResourceMetric.shape)),
    FieldShape("pods", .object(SwarmAutoscaler.PodsMetric.shape)),
    FieldShape("object", .object(SwarmAutoscaler.ObjectMetric.shape)),
    FieldShape("external", .object(SwarmAutoscaler.ExternalMetric.shape)),
    FieldShape("apiRate", .object(SwarmAutoscaler.APIRateMetric.shape)),
    FieldShape("backlog", .object(SwarmAutoscaler.BacklogMetric.shape)),
    FieldShape("prometheus", .object(SwarmAutoscaler.PrometheusMetric.shape)),
    FieldShape("schedule", .object(SwarmAutoscaler.ScheduleMetric.shape)),
  ]
}

extension SwarmAutoscaler.ResourceMetric {
  /// The fields of a ResourceMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("name", .string),
    FieldShape("target", .object(SwarmAutoscaler.MetricTarget.shape)),
  ]
}

extension SwarmAutoscaler.ContainerResourceMetric {
  /// The fields of a ContainerResourceMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("name", .string),
    FieldShape("container", .string),
    FieldShape("target", .object(SwarmAutoscaler.MetricTarget.shape)),
  ]
}

extension SwarmAutoscaler.MetricIdentifier {
  /// The fields of a MetricIdentifier, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("name", .string),
    FieldShape("selector", .object(labelSelectorShape)),
  ]
}

extension SwarmAutoscaler.PodsMetric {
  /// The fields of a PodsMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("metric", .object(SwarmAutoscaler.MetricIdentifier.shape)),
    FieldShape("target", .object(SwarmAutoscaler.MetricTarget.shape)),
  ]
}

extension SwarmAutoscaler.ObjectMetric {
  /// The fields of a ObjectMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("describedObject", .object(SwarmAutoscaler.ObjectReference.shape)),
    FieldShape("metric", .object(SwarmAutoscaler.MetricIdentifier.shape)),
    FieldShape("target", .object(SwarmAutoscaler.MetricTarget.shape)),
  ]
}

extension SwarmAutoscaler.ExternalMetric {
  /// The fields of a ExternalMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("metric", .object(SwarmAutoscaler.MetricIdentifier.shape)),
    FieldShape("target", .object(SwarmAutoscaler.MetricTarget.shape)),
  ]
}

extension SwarmAutoscaler.MetricTarget {
  /// The fields of a MetricTarget, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("type", .string),
    FieldShape("value", .quantity),
    FieldShape("averageValue", .quantity),
    FieldShape("averageUtilization", .int32),
    FieldShape("lower", .quantity),
    FieldShape("upper", .quantity),
  ]
}

extension SwarmAutoscaler.PercentBand {
  /// The fields of a PercentBand, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("lower", .int32),
    FieldShape("upper", .int32),
  ]
}

extension SwarmAutoscaler.APIRateMetric {
  /// The fields of a APIRateMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("budgetRef", .object(SwarmAutoscaler.BudgetReference.shape)),
    FieldShape("target", .object(SwarmAutoscaler.PercentBand.shape)),
  ]
}

extension SwarmAutoscaler.BudgetReference {
  /// The fields of a BudgetReference, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("name", .string)
  ]
}

extension SwarmAutoscaler.BacklogMetric {
  /// The fields of a BacklogMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("source", .object(SwarmAutoscaler.BacklogSource.shape)),
    FieldShape("target", .object(SwarmAutoscaler.MetricTarget.shape)),
  ]
}

extension SwarmAutoscaler.BacklogSource {
  /// The fields of a BacklogSource, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("external", .object(SwarmAutoscaler.BacklogExternalSource.shape)),
    FieldShape("object", .object(SwarmAutoscaler.BacklogObjectSource.shape)),
    FieldShape("prometheus", .object(SwarmAutoscaler.PrometheusQuery.shape)),
  ]
}

extension SwarmAutoscaler.BacklogExternalSource {
  /// The fields of a BacklogExternalSource, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("metric", .object(SwarmAutoscaler.MetricIdentifier.shape))
  ]
}

extension SwarmAutoscaler.BacklogObjectSource {
  /// The fields of a BacklogObjectSource, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("describedObject", .object(SwarmAutoscaler.ObjectReference.shape)),
    FieldShape("metric", .object(SwarmAutoscaler.MetricIdentifier.shape)),
  ]
}

extension SwarmAutoscaler.PrometheusQuery {
  /// The fields of a PrometheusQuery, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("serverAddress", .string),
    FieldShape("query", .string),
    FieldShape("absent", .string),
    FieldShape("authentication", .object(SwarmAutoscaler.Authentication.shape)),
    FieldShape("tls", .object(SwarmAutoscaler.TLSOptions.shape)),
  ]
}

extension SwarmAutoscaler.PrometheusMetric {
  /// The fields of a PrometheusMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("serverAddress", .string),
    FieldShape("query", .string),
    FieldShape("target", .object(SwarmAutoscaler.MetricTarget.shape)),
    FieldShape("absent", .string),
    FieldShape("authentication", .object(SwarmAutoscaler.Authentication.shape)),
    FieldShape("tls", .object(SwarmAutoscaler.TLSOptions.shape)),
  ]
}

extension SwarmAutoscaler.Authentication {
  /// The fields of a Authentication, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("type", .string),
    FieldShape("secretRef", .object(SwarmAutoscaler.CredentialsReference.shape)),
  ]
}

extension SwarmAutoscaler.CredentialsReference {
  /// The fields of a CredentialsReference, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("name", .string),
    FieldShape("tokenKey", .string),
    FieldShape("usernameKey", .string),
    FieldShape("passwordKey", .string),
  ]
}

extension SwarmAutoscaler.TLSOptions {
  /// The fields of a TLSOptions, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("caSecretRef", .object(SwarmAutoscaler.SecretKeyReference.shape)),
    FieldShape("clientSecretRef", .object(SwarmAutoscaler.SecretReference.shape)),
    FieldShape("serverName", .string),
    FieldShape("insecureSkipVerify", .boolean),
  ]
}

extension SwarmAutoscaler.SecretKeyReference {
  /// The fields of a SecretKeyReference, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("name", .string),
    FieldShape("key", .string),
  ]
}

extension SwarmAutoscaler.SecretReference {
  /// The fields of a SecretReference, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("name", .string)
  ]
}

extension SwarmAutoscaler.ScheduleMetric {
  /// The fields of a ScheduleMetric, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("timeZone", .string),
    FieldShape("start", .string),
    FieldShape("end", .string),
    FieldShape("replicas", .int32),
  ]
}

extension SwarmAutoscaler.Behavior {
  /// The fields of a Behavior, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("scaleUp", .object(SwarmAutoscaler.Rules.shape)),
    FieldShape("scaleDown", .object(SwarmAutoscaler.Rules.shape)),
  ]
}

extension SwarmAutoscaler.Rules {
  /// The fields of a Rules, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("stabilizationWindowSeconds", .int32),
    FieldShape("selectPolicy", .string),
    FieldShape("policies", .list(.object(SwarmAutoscaler.Policy.shape))),
    FieldShape("tolerance", .quantity),
  ]
}

extension SwarmAutoscaler.Policy {
  /// The fields of a Policy, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("type", .string),
    FieldShape("value", .int32),
    FieldShape("periodSeconds", .int32),
  ]
}

extension SwarmAutoscaler.Drain {
  /// The fields of a Drain, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("strategy", .string),
    FieldShape("timeout", .string),
  ]
}

extension SwarmAutoscaler.Fallback {
  /// The fields of a Fallback, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("failureThreshold", .int32),
    FieldShape("replicas", .int32),
    FieldShape("behavior", .string),
  ]
}

extension SwarmAutoscaler.Embed {
  /// The fields of a Embed, for checks of documents.
  package static let shape: [FieldShape] = [
    FieldShape("mode", .string)
  ]
}
