extension SwarmAutoscaler {
  /// Where a metric's number comes from.
  package enum MetricSourceType: String, KnownText {
    /// CPU or memory of whole workers, from metrics.k8s.io.
    case resource = "Resource"
    /// CPU or memory of one container of each worker.
    case containerResource = "ContainerResource"
    /// A number of each worker's own, from custom.metrics.k8s.io.
    case pods = "Pods"
    /// A number of another Kubernetes object.
    case object = "Object"
    /// A number from outside the cluster, from external.metrics.k8s.io.
    case external = "External"
    /// The load on a shared API budget: a ceiling, never a demand.
    case apiRate = "APIRate"
    /// Work queued and in flight.
    case backlog = "Backlog"
    /// The result of a PromQL query.
    case prometheus = "Prometheus"
    /// A count that holds at certain hours.
    case schedule = "Schedule"
  }

  /// How a metric is compared with its target.
  package enum TargetType: String, KnownText {
    /// Percent of what the workers request.
    case utilization = "Utilization"
    /// The number itself.
    case value = "Value"
    /// The number divided by the count of workers.
    case averageValue = "AverageValue"
    /// A band of percent of requests, or of the mean per worker: inside it nothing changes.
    case band = "Band"
  }

  /// Which of several rate policies counts.
  package enum PolicySelection: String, KnownText {
    /// The one that allows most change.
    case max = "Max"
    /// The one that allows least change.
    case min = "Min"
    /// None: this direction is frozen.
    case disabled = "Disabled"
  }

  /// What a rate policy counts.
  package enum PolicyType: String, KnownText {
    /// Workers.
    case pods = "Pods"
    /// Percent of the count at the start of the period.
    case percent = "Percent"
  }

  /// What an empty answer of a query means.
  package enum AbsentBehavior: String, KnownText {
    /// The last value that was seen.
    case hold = "Hold"
    /// The number zero.
    case zero = "Zero"
    /// Unknown, as if the query had failed.
    case fail = "Fail"
  }

  /// How a shrink chooses and stops workers.
  package enum DrainStrategy: String, KnownText {
    /// Idle workers go first; busy ones finish their work before they go.
    case idleFirst = "IdleFirst"
    /// The count is written at once and Kubernetes chooses, as with the HPA.
    case immediate = "Immediate"
  }

  /// What a metric that keeps failing proposes.
  package enum FallbackBehavior: String, KnownText {
    /// The fallback's count.
    case fixed = "Static"
    /// The present count.
    case currentReplicas = "CurrentReplicas"
    /// The larger of the present count and the fallback's count.
    case currentReplicasIfHigher = "CurrentReplicasIfHigher"
    /// The smaller of the present count and the fallback's count.
    case currentReplicasIfLower = "CurrentReplicasIfLower"
  }

  /// How the worker side is put into the managed pods.
  package enum EmbedMode: String, KnownText {
    /// The admission webhook adds the sidecar.
    case sidecar = "Sidecar"
    /// The workers embed the SwarmCoordination library; the webhook adds only environment and token.
    case library = "Library"
    /// Pods are left as they are; drain goes by readiness and metrics alone.
    case disabled = "None"
  }

  /// How requests to a server authenticate.
  package enum AuthenticationType: String, KnownText {
    /// A bearer token.
    case bearer = "Bearer"
    /// User name and password.
    case basic = "Basic"
  }

  /// Whether a condition holds.
  package enum ConditionStatus: String, KnownText {
    /// It holds.
    case `true` = "True"
    /// It does not hold.
    case `false` = "False"
    /// Nobody knows.
    case unknown = "Unknown"
  }
}
