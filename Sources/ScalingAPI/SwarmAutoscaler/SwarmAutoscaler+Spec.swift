package import KubernetesCore

extension SwarmAutoscaler {
  /// What a user asks of one autoscaler; an `autoscaling/v2` spec is one of these.
  package struct Spec: Hashable, Sendable, Codable {
    /// What to scale: anything in the same namespace that has the scale subresource.
    package var scaleTargetRef: ScaleTargetReference?
    /// The smallest count. Default 5, or maxReplicas where that is smaller. 0 needs a metric that can be read without
    /// workers (Object, External, Prometheus, Schedule, or Backlog with a source).
    package var minReplicas: Int32?
    /// The largest count. Default 100, or minReplicas where that is larger.
    package var maxReplicas: Int32?
    /// What the count follows: the largest demand wins, the smallest ceiling (APIRate) caps it. Default: CPU and memory
    /// in the band 70-85, and the backlog where the workers report one.
    package var metrics: [MetricSpec]?
    /// Stabilisation windows, rate policies and tolerances of both directions, as in autoscaling/v2.
    package var behavior: Behavior?
    /// How a shrink treats workers that have work. Default: idle workers first, busy ones get 30 minutes.
    package var drain: Drain?
    /// What to do when a metric keeps failing. Default: hold the present count.
    package var fallback: Fallback?
    /// How the worker side (API gateway, activity reports, drain) gets into the pods. Default: pods are left as they
    /// are.
    package var embed: Embed?
    /// Decide and explain, but never write the scale. Default false.
    package var dryRun: Bool?
    /// How often to decide, in seconds, at least 3. Changes of the spec are followed at once. Default 15.
    package var syncPeriodSeconds: Int32?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      scaleTargetRef: ScaleTargetReference? = nil, minReplicas: Int32? = nil, maxReplicas: Int32? = nil,
      metrics: [MetricSpec]? = nil, behavior: Behavior? = nil, drain: Drain? = nil, fallback: Fallback? = nil,
      embed: Embed? = nil, dryRun: Bool? = nil, syncPeriodSeconds: Int32? = nil
    ) {
      self.scaleTargetRef = scaleTargetRef
      self.minReplicas = minReplicas
      self.maxReplicas = maxReplicas
      self.metrics = metrics
      self.behavior = behavior
      self.drain = drain
      self.fallback = fallback
      self.embed = embed
      self.dryRun = dryRun
      self.syncPeriodSeconds = syncPeriodSeconds
    }
  }

  /// A reference to an object with the scale subresource.
  package struct ScaleTargetReference: Hashable, Sendable, Codable {
    /// The API group and version, such as apps/v1. May be left out only for a ReplicationController.
    package var apiVersion: String?
    /// The kind, such as Deployment.
    package var kind: String?
    /// The name, in the namespace of the autoscaler.
    package var name: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(apiVersion: String? = nil, kind: String? = nil, name: String? = nil) {
      self.apiVersion = apiVersion
      self.kind = kind
      self.name = name
    }
  }

  /// Windows, policies and tolerances of both directions.
  package struct Behavior: Hashable, Sendable, Codable {
    /// Growing. Default: no window, 4 pods or 100 % in 15 s, whichever is more.
    package var scaleUp: Rules?
    /// Shrinking. Default: a window of 300 s, 100 % in 15 s.
    package var scaleDown: Rules?

    /// Makes a value; what is left out is absent from the JSON.
    package init(scaleUp: Rules? = nil, scaleDown: Rules? = nil) {
      self.scaleUp = scaleUp
      self.scaleDown = scaleDown
    }
  }

  /// The rules of one direction.
  package struct Rules: Hashable, Sendable, Codable {
    /// How long a proposal must have stood before it is followed, in seconds. Default 0 up, 300 down.
    package var stabilizationWindowSeconds: Int32?
    /// Which policy counts: Max (most change), Min (least) or Disabled (never scale in this direction). Default Max.
    package var selectPolicy: Open<SwarmAutoscaler.PolicySelection>?
    /// Limits of the change within a period. At least one, where given.
    package var policies: [Policy]?
    /// How far a ratio may be from 1 without a change, such as "0.1" or "50m". Default 0.1. No effect on bands.
    package var tolerance: Quantity?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      stabilizationWindowSeconds: Int32? = nil, selectPolicy: Open<SwarmAutoscaler.PolicySelection>? = nil,
      policies: [Policy]? = nil, tolerance: Quantity? = nil
    ) {
      self.stabilizationWindowSeconds = stabilizationWindowSeconds
      self.selectPolicy = selectPolicy
      self.policies = policies
      self.tolerance = tolerance
    }
  }

  /// One limit of the change within a period.
  package struct Policy: Hashable, Sendable, Codable {
    /// Pods or Percent.
    package var type: Open<SwarmAutoscaler.PolicyType>?
    /// The most change within the period.
    package var value: Int32?
    /// The length of the period in seconds.
    package var periodSeconds: Int32?

    /// Makes a value; what is left out is absent from the JSON.
    package init(type: Open<SwarmAutoscaler.PolicyType>? = nil, value: Int32? = nil, periodSeconds: Int32? = nil) {
      self.type = type
      self.value = value
      self.periodSeconds = periodSeconds
    }
  }

  /// How a shrink treats workers that have work.
  package struct Drain: Hashable, Sendable, Codable {
    /// IdleFirst: idle workers go first and busy ones finish. Immediate: write the count at once, as the HPA does.
    /// Default IdleFirst.
    package var strategy: Open<SwarmAutoscaler.DrainStrategy>?
    /// How long a busy worker may take to finish, such as 30m; then it goes. 0s: as long as it needs. Default 30m.
    package var timeout: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(strategy: Open<SwarmAutoscaler.DrainStrategy>? = nil, timeout: String? = nil) {
      self.strategy = strategy
      self.timeout = timeout
    }
  }

  /// What a metric that keeps failing proposes.
  package struct Fallback: Hashable, Sendable, Codable {
    /// After how many failures in a row. Default 3.
    package var failureThreshold: Int32?
    /// The fallback's count.
    package var replicas: Int32?
    /// Static: the fallback's count. CurrentReplicas: the present count. CurrentReplicasIfHigher,
    /// CurrentReplicasIfLower: the larger or the smaller of the two. Default Static.
    package var behavior: Open<SwarmAutoscaler.FallbackBehavior>?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      failureThreshold: Int32? = nil, replicas: Int32? = nil, behavior: Open<SwarmAutoscaler.FallbackBehavior>? = nil
    ) {
      self.failureThreshold = failureThreshold
      self.replicas = replicas
      self.behavior = behavior
    }
  }

  /// How the worker side gets into the pods.
  package struct Embed: Hashable, Sendable, Codable {
    /// Sidecar, Library or None. Default Sidecar.
    package var mode: Open<SwarmAutoscaler.EmbedMode>?

    /// Makes a value; what is left out is absent from the JSON.
    package init(mode: Open<SwarmAutoscaler.EmbedMode>? = nil) {
      self.mode = mode
    }
  }
}
