package import KubernetesCore

/// A valid autoscaler with every default filled in and every text parsed: what the controller acts on.
package struct ResolvedAutoscaler: Hashable, Sendable, Codable {
  /// What to scale.
  package var target: ScaleTarget
  /// The smallest count.
  package var minReplicas: Int32
  /// The largest count.
  package var maxReplicas: Int32
  /// The metrics in the order of the spec.
  package var metrics: [Metric]
  /// Whether the spec named no metric, so that `metrics` are the defaults.
  package var usesDefaultMetrics: Bool
  /// The rules for growing.
  package var scaleUp: Rules
  /// The rules for shrinking.
  package var scaleDown: Rules
  /// Whether the spec has a `behavior`; the HPA takes another path without one, this project doesn't.
  package var hasBehavior: Bool
  /// How a shrink treats workers that have work.
  package var drain: Drain
  /// What a metric that keeps failing proposes; nil: it holds the present count.
  package var fallback: Fallback?
  /// How the worker side gets into the pods.
  package var embedMode: SwarmAutoscaler.EmbedMode
  /// Decide and explain, but write nothing.
  package var isDryRun: Bool
  /// How often to decide.
  package var syncPeriod: Duration
  /// What annotations hold back.
  package var pause: Pause

  /// The object whose scale is written.
  package struct ScaleTarget: Hashable, Sendable, Codable {
    /// The API group and version; `v1` for a ReplicationController.
    package var apiVersion: String
    /// The kind.
    package var kind: String
    /// The name.
    package var name: String
  }

  /// A band of quantities or percents: inside it nothing changes.
  package struct Band: Hashable, Sendable, Codable {
    /// The lower end.
    package var lower: Quantity
    /// The upper end.
    package var upper: Quantity

    /// Makes a band.
    package init(lower: Quantity, upper: Quantity) {
      self.lower = lower
      self.upper = upper
    }
  }

  /// A band of whole percent.
  package struct PercentBand: Hashable, Sendable, Codable {
    /// The lower end, in percent.
    package var lower: Int32
    /// The upper end, in percent.
    package var upper: Int32

    /// Makes a band.
    package init(lower: Int32, upper: Int32) {
      self.lower = lower
      self.upper = upper
    }
  }

  /// What a number should be.
  package enum Target: Hashable, Sendable, Codable {
    /// Percent of what the workers request.
    case utilization(percent: Int32)
    /// The mean per worker.
    case averageValue(Quantity)
    /// The number itself.
    case value(Quantity)
    /// A band of percent of what the workers request.
    case utilizationBand(PercentBand)
    /// A band of the mean per worker.
    case averageValueBand(Band)
  }

  /// The name of a custom or external metric.
  package struct MetricName: Hashable, Sendable, Codable {
    /// The metric's name.
    package var name: String
    /// Which series count; nil: all.
    package var selector: LabelSelector?

    /// Names a metric.
    package init(name: String, selector: LabelSelector? = nil) {
      self.name = name
      self.selector = selector
    }
  }

  /// A PromQL query and where to send it.
  package struct Query: Hashable, Sendable, Codable {
    /// The base URL.
    package var serverAddress: String
    /// The query.
    package var query: String
    /// What an empty answer means.
    package var absent: SwarmAutoscaler.AbsentBehavior
    /// How to authenticate; nil: not at all.
    package var authentication: Authentication?
    /// How to check the server's certificate; nil: against the system's authorities.
    package var tls: SwarmAutoscaler.TLSOptions?
  }

  /// Credentials in a Secret.
  package enum Authentication: Hashable, Sendable, Codable {
    /// A bearer token under `key` of the Secret `secret`.
    case bearer(secret: String, key: String)
    /// User name and password under two keys of the Secret `secret`.
    case basic(secret: String, usernameKey: String, passwordKey: String)
  }

  /// Where a backlog is read.
  package enum BacklogSource: Hashable, Sendable, Codable {
    /// What the workers report.
    case workers
    /// A metric of external.metrics.k8s.io.
    case external(MetricName)
    /// A metric of another object.
    case object(SwarmAutoscaler.ObjectReference, MetricName)
    /// A PromQL query.
    case prometheus(Query)
  }

  /// One metric.
  package enum Metric: Hashable, Sendable, Codable {
    /// CPU or memory of the workers, or of one container of each.
    case resource(name: String, container: String?, target: Target)
    /// A number of each worker's own.
    case pods(MetricName, target: Target)
    /// A number of another object.
    case object(SwarmAutoscaler.ObjectReference, MetricName, target: Target)
    /// A number from outside the cluster.
    case external(MetricName, target: Target)
    /// The load on a shared budget, a ceiling; a nil target means the budget's own.
    case apiRate(budget: String, target: PercentBand?)
    /// Work queued and in flight; `onlyWhereReported`: no metric at all while no worker reports one.
    case backlog(BacklogSource, target: Target, onlyWhereReported: Bool)
    /// The result of a query.
    case prometheus(Query, target: Target)
    /// A count that holds at certain hours; the window comes from `CronSchedule.window`.
    case schedule(timeZone: String, start: String, end: String, replicas: Int32)
  }

  /// The rules of one direction.
  package struct Rules: Hashable, Sendable, Codable {
    /// How long a proposal must have stood before it is followed.
    package var stabilizationWindow: Duration
    /// Which of several policies counts.
    package var selectPolicy: SwarmAutoscaler.PolicySelection
    /// The limits of the change within a period; at least one.
    package var policies: [Policy]
    /// How far from 1 a ratio may be without a change.
    package var tolerance: Quantity

    /// One limit of the change within a period.
    package struct Policy: Hashable, Sendable, Codable {
      /// What the value counts.
      package var type: SwarmAutoscaler.PolicyType
      /// The most change within the period.
      package var value: Int32
      /// The length of the period.
      package var period: Duration
    }
  }

  /// How a shrink treats workers that have work.
  package struct Drain: Hashable, Sendable, Codable {
    /// Who goes first.
    package var strategy: SwarmAutoscaler.DrainStrategy
    /// How long a busy worker may take; nil: as long as it needs.
    package var timeout: Duration?
  }

  /// What a metric that keeps failing proposes.
  package struct Fallback: Hashable, Sendable, Codable {
    /// After how many failures in a row.
    package var failureThreshold: Int32
    /// The fallback's count.
    package var replicas: Int32
    /// How the count is used.
    package var behavior: SwarmAutoscaler.FallbackBehavior
  }

  /// What annotations hold back.
  package struct Pause: Hashable, Sendable, Codable {
    /// Neither grow nor shrink.
    package var isPaused = false
    /// Don't grow.
    package var isScaleUpPaused = false
    /// Don't shrink.
    package var isScaleDownPaused = false
    /// Go to this count and stay there.
    package var replicas: Int32?

    /// Holds nothing back.
    package init() {}
  }

  /// What the controller's flags fill in.
  package struct Defaults: Hashable, Sendable {
    /// The tolerance of directions that name none.
    package var tolerance = Quantity(milliValue: 100)
    /// The scale-down window of specs that name none.
    package var downscaleStabilization: Duration = .seconds(300)
    /// The period of specs that name none.
    package var syncPeriod: Duration = .seconds(15)

    /// The defaults of `autoscaling/v2`.
    package init() {}
  }
}

/// A spec with errors; it can't be resolved.
package struct InvalidSpecError: Error, Hashable, Sendable, CustomStringConvertible {
  /// All findings, warnings included.
  package var issues: [FieldIssue]

  /// One finding a line.
  package var description: String { issues.map(\.description).joined(separator: "\n") }
}
