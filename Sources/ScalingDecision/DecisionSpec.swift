/// What a user asked of one autoscaler, compiled for the decision: plain values with every default filled in.
///
/// It is made once per generation of the object and then used for every decision. Nothing in it needs to be valid:
/// whatever a spec says, a decision neither traps nor leaves the bounds.
package struct DecisionSpec: Hashable, Sendable, Codable {
  /// The smallest count; below it the fleet grows without looking at any metric.
  package var minReplicas: Int
  /// The largest count; wins over everything but work in flight.
  package var maxReplicas: Int
  /// The metrics in the order of the spec; proposals and reasons keep this order.
  package var metrics: [MetricSpec]
  /// Stabilisation windows, rate policies and tolerances.
  package var behavior: ScalingBehavior
  /// What a demand metric proposes after it failed several times in a row; nil: the present count.
  package var fallback: FallbackSpec?
  /// How a shrink treats workers that have work.
  package var drain: DrainSpec
  /// What the object's annotations hold back.
  package var pause: PauseSpec
  /// Decide and explain, but write nothing.
  package var isDryRun: Bool
  /// The controller's own constants.
  package var limits: DecisionLimits

  /// Makes a spec; all but the bounds and the metrics have the defaults of `autoscaling/v2` or of this project.
  package init(
    minReplicas: Int, maxReplicas: Int, metrics: [MetricSpec], behavior: ScalingBehavior = ScalingBehavior(),
    fallback: FallbackSpec? = nil, drain: DrainSpec = DrainSpec(), pause: PauseSpec = PauseSpec(),
    isDryRun: Bool = false, limits: DecisionLimits = DecisionLimits()
  ) {
    self.minReplicas = minReplicas
    self.maxReplicas = maxReplicas
    self.metrics = metrics
    self.behavior = behavior
    self.fallback = fallback
    self.drain = drain
    self.pause = pause
    self.isDryRun = isDryRun
    self.limits = limits
  }
}

/// One metric of a spec: where its number comes from, and what that number should be.
package struct MetricSpec: Hashable, Sendable, Codable {
  /// Where a metric's number comes from.
  package enum Source: Hashable, Sendable, Codable {
    /// CPU or memory of whole workers.
    case resource(ComputeResource)
    /// CPU or memory of the named container of each worker.
    case containerResource(ComputeResource, container: String)
    /// A number of each worker's own.
    case pods
    /// A number of another object.
    case object
    /// A number from outside; all returned series are added.
    case external
    /// A PromQL query; all returned series are added.
    case prometheus
    /// Work queued and in flight.
    case backlog
    /// A count that holds at certain hours.
    case schedule
    /// A shared rate budget: a ceiling, never a demand.
    case apiRate

    /// The place of such a metric in the algorithm.
    package var role: Role {
      if case .apiRate = self { .ceiling } else { .demand }
    }
  }

  /// The kind of a metric that decides its place in the algorithm.
  package enum Role: String, Hashable, Sendable, Codable {
    /// Proposes a count; the largest proposal wins.
    case demand
    /// Allows a count; the smallest allowance wins.
    case ceiling
  }

  /// What an empty reply of a source means.
  package enum AbsentPolicy: String, Hashable, Sendable, Codable {
    /// The last value that was seen.
    case hold
    /// The number zero.
    case zero
    /// Unknown, as if the source had failed.
    case fail
    /// No metric at all: for default metrics, which nobody asked for.
    case ignore
  }

  /// A name that identifies the metric within its spec, also after a restart or a change of the order.
  package var key: String
  /// The short name for people, such as `cpu` or `backlog`.
  package var name: String
  /// Where the number comes from.
  package var source: Source
  /// What the number should be.
  package var target: MetricTarget
  /// What an empty reply means.
  package var absent: AbsentPolicy
  /// The age at which a sample no longer counts; nil for the limit of `DecisionLimits`.
  package var freshness: Duration?
  /// Whether the tolerance of `behavior` applies; a backlog is counted, not measured, and has none.
  package var isTolerant: Bool

  /// Makes a metric; `key` is the name unless given, and every source but a backlog is tolerant.
  package init(
    name: String, source: Source, target: MetricTarget, key: String? = nil, absent: AbsentPolicy = .fail,
    freshness: Duration? = nil, isTolerant: Bool? = nil
  ) {
    self.key = key ?? name
    self.name = name
    self.source = source
    self.target = target
    self.absent = absent
    self.freshness = freshness
    self.isTolerant = isTolerant ?? (source != .backlog)
  }

  /// Whether the metric is a demand or a ceiling.
  package var role: Role { source.role }
}

/// The resources that `metrics.k8s.io` measures.
package enum ComputeResource: String, Hashable, Sendable, Codable {
  /// Thousandths of a core.
  case cpu
  /// Bytes, in thousandths.
  case memory
}

/// What a metric's number should be. Numbers of metrics are in thousandths of their unit ("milli").
package enum MetricTarget: Hashable, Sendable, Codable {
  /// Percent of what the workers request, as in `autoscaling/v2`.
  case utilization(percent: Int64)
  /// The mean per worker, as in `autoscaling/v2`.
  case averageValue(milli: Int64)
  /// The number itself, as in `autoscaling/v2`.
  case value(milli: Int64)
  /// A band of percent of what the workers request; inside it nothing changes.
  case utilizationBand(lower: Int64, upper: Int64)
  /// A band of the mean per worker.
  case averageValueBand(lowerMilli: Int64, upperMilli: Int64)
  /// A band of the number itself.
  case valueBand(lowerMilli: Int64, upperMilli: Int64)
  /// A count that the reading gives (schedules).
  case replicas
}

/// Windows, policies and tolerances, complete as after the defaulting of `autoscaling/v2`.
package struct ScalingBehavior: Hashable, Sendable, Codable {
  /// The rules for growing.
  package var scaleUp: ScalingRules
  /// The rules for shrinking.
  package var scaleDown: ScalingRules

  /// Makes a behaviour; without arguments the defaults of `autoscaling/v2`.
  package init(scaleUp: ScalingRules = .defaultScaleUp, scaleDown: ScalingRules = .defaultScaleDown) {
    self.scaleUp = scaleUp
    self.scaleDown = scaleDown
  }

  /// No window and no limit of the rate; the tolerance stays.
  package static var immediate: ScalingBehavior {
    ScalingBehavior(scaleUp: .unlimited, scaleDown: .unlimited)
  }
}

/// The rules of one direction.
package struct ScalingRules: Hashable, Sendable, Codable {
  /// Which of several policies counts.
  package enum SelectPolicy: String, Hashable, Sendable, Codable {
    /// The one that allows most change.
    case max = "Max"
    /// The one that allows least change.
    case min = "Min"
    /// None: this direction is frozen.
    case disabled = "Disabled"
  }

  /// One limit of the change within a period.
  package struct Policy: Hashable, Sendable, Codable {
    /// What the value counts.
    package enum Unit: String, Hashable, Sendable, Codable {
      /// Workers.
      case pods = "Pods"
      /// Percent of the count at the period's start.
      case percent = "Percent"
    }

    /// What the value counts.
    package var unit: Unit
    /// The most change within the period.
    package var value: Int64
    /// The length of the period.
    package var period: Duration

    /// Makes a policy.
    package init(_ unit: Unit, _ value: Int64, per period: Duration) {
      self.unit = unit
      self.value = value
      self.period = period
    }
  }

  /// How long a proposal must have stood before it is followed.
  package var stabilizationWindow: Duration
  /// Which of several policies counts.
  package var selectPolicy: SelectPolicy
  /// The limits of the rate; none: no limit.
  package var policies: [Policy]
  /// How far from its target a ratio may be without a change.
  package var tolerance: Tolerance

  /// Makes the rules of one direction.
  package init(
    stabilizationWindow: Duration, selectPolicy: SelectPolicy, policies: [Policy], tolerance: Tolerance = .tenPercent
  ) {
    self.stabilizationWindow = stabilizationWindow
    self.selectPolicy = selectPolicy
    self.policies = policies
    self.tolerance = tolerance
  }

  /// No window, and the larger of four workers or 100 % in 15 seconds.
  package static let defaultScaleUp = ScalingRules(
    stabilizationWindow: .zero, selectPolicy: .max,
    policies: [Policy(.pods, 4, per: .seconds(15)), Policy(.percent, 100, per: .seconds(15))])
  /// A window of five minutes, and 100 % in 15 seconds.
  package static let defaultScaleDown = ScalingRules(
    stabilizationWindow: .seconds(300), selectPolicy: .max, policies: [Policy(.percent, 100, per: .seconds(15))])
  /// No window and no limit.
  package static let unlimited = ScalingRules(stabilizationWindow: .zero, selectPolicy: .max, policies: [])
}

/// A distance from a target that causes no change, as an exact fraction.
package struct Tolerance: Hashable, Sendable, Codable {
  /// Billionths: 100 million are the 10 % of `autoscaling/v2`.
  package var billionths: Int64

  /// Makes a tolerance from billionths.
  package init(billionths: Int64) { self.billionths = billionths }

  /// The default of `autoscaling/v2`.
  package static let tenPercent = Tolerance(billionths: 100_000_000)
  /// No tolerance at all.
  package static let none = Tolerance(billionths: 0)
}

/// What replaces a demand metric that keeps failing.
package struct FallbackSpec: Hashable, Sendable, Codable {
  /// How the fallback's count is combined with the present one.
  package enum Behavior: String, Hashable, Sendable, Codable {
    /// The fallback's count.
    case `static` = "Static"
    /// The present count.
    case currentReplicas = "CurrentReplicas"
    /// The larger of both.
    case currentReplicasIfHigher = "CurrentReplicasIfHigher"
    /// The smaller of both.
    case currentReplicasIfLower = "CurrentReplicasIfLower"
  }

  /// How many evaluations in a row must fail.
  package var failureThreshold: Int
  /// The count to propose.
  package var replicas: Int
  /// How that count is combined with the present one.
  package var behavior: Behavior

  /// Makes a fallback.
  package init(failureThreshold: Int = 3, replicas: Int, behavior: Behavior = .static) {
    self.failureThreshold = failureThreshold
    self.replicas = replicas
    self.behavior = behavior
  }
}

/// How a shrink treats workers that have work.
package struct DrainSpec: Hashable, Sendable, Codable {
  /// Which workers go first, and whether their work is waited for.
  package enum Strategy: String, Hashable, Sendable, Codable {
    /// Idle workers first; busy ones only when they have finished.
    case idleFirst = "IdleFirst"
    /// The count is written at once, and Kubernetes chooses.
    case immediate = "Immediate"
  }

  /// Which workers go first.
  package var strategy: Strategy
  /// How long a draining worker may go on with its work before it is removed all the same; nil: as long as it takes.
  package var timeout: Duration?
  /// Every worker embeds the library, so that one that reports nothing has lost contact and may be busy.
  package var expectsReports: Bool
  /// By which order the target's controller gives up pods.
  package var removal: RemovalOrder
  /// Whether that controller goes by `controller.kubernetes.io/pod-deletion-cost` (Kubernetes 1.22 and later).
  package var heedsDeletionCost: Bool

  /// How long an order to drain stands at the worker, which takes work again afterwards: longer than anybody waits for it.
  package var orderLifetime: Duration {
    min(max(timeout ?? .seconds(86_400), .zero), .seconds(31_536_000)) + VictimSelection.orderSlack
  }

  /// Makes a drain rule.
  package init(
    strategy: Strategy = .idleFirst, timeout: Duration? = nil, expectsReports: Bool = false,
    removal: RemovalOrder = .ranked, heedsDeletionCost: Bool = true
  ) {
    self.strategy = strategy
    self.timeout = timeout
    self.expectsReports = expectsReports
    self.removal = removal
    self.heedsDeletionCost = heedsDeletionCost
  }
}

extension DrainSpec {
  private enum CodingKeys: String, CodingKey { case strategy, timeout, expectsReports, removal, heedsDeletionCost }

  /// Reads a rule; a decision log from before 0.2 says nothing of the target's controller.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      strategy: try container.decode(Strategy.self, forKey: .strategy),
      timeout: try container.decodeIfPresent(Duration.self, forKey: .timeout),
      expectsReports: try container.decode(Bool.self, forKey: .expectsReports),
      removal: try container.decodeIfPresent(RemovalOrder.self, forKey: .removal) ?? .ranked,
      heedsDeletionCost: try container.decodeIfPresent(Bool.self, forKey: .heedsDeletionCost) ?? true)
  }
}

/// By which order a target's controller gives up pods when the count falls.
package enum RemovalOrder: String, Hashable, Sendable, Codable {
  /// As a ReplicaSet does: by assignment, phase, readiness and deletion cost.
  case ranked = "Ranked"
  /// As a StatefulSet does: the highest ordinal first.
  case ordinal = "Ordinal"
  /// Not known.
  case unknown = "Unknown"

  /// The order of a kind. Kinds whose documents promise it: Argo's Rollout works through ReplicaSets, OpenKruise's CloneSet and
  /// advanced StatefulSet follow their models of `apps`.
  package init(group: String, kind: String) {
    self =
      switch (group, kind) {
      case ("apps", "Deployment"), ("apps", "ReplicaSet"), ("", "ReplicationController"), ("argoproj.io", "Rollout"),
        ("apps.kruise.io", "CloneSet"):
        .ranked
      case ("apps", "StatefulSet"), ("apps.kruise.io", "StatefulSet"): .ordinal
      default: .unknown
      }
  }
}

/// Why a shrink may hit work.
package enum WorkExposure: String, Hashable, Sendable, Codable {
  /// No worker reports its work.
  case noReports
  /// Nobody knows whom the target's controller removes.
  case orderUnknown
}

/// What the annotations `swarmscale.dev/paused…` hold back.
package struct PauseSpec: Hashable, Sendable, Codable {
  /// Nothing is written.
  package var all: Bool
  /// No growth, bounds included.
  package var scaleUp: Bool
  /// No shrink, bounds included.
  package var scaleDown: Bool
  /// Hold exactly this count; nil: none.
  package var replicas: Int?

  /// Makes a pause; without arguments nothing is held back.
  package init(all: Bool = false, scaleUp: Bool = false, scaleDown: Bool = false, replicas: Int? = nil) {
    self.all = all
    self.scaleUp = scaleUp
    self.scaleDown = scaleDown
    self.replicas = replicas
  }
}

/// The constants of a controller, the same for all its autoscalers.
package struct DecisionLimits: Hashable, Sendable, Codable {
  /// How young a worker is while its CPU readings still show its start (HPA: `cpu-initialization-period`).
  package var cpuInitializationPeriod: Duration
  /// How soon after its start a worker that is not ready has never been ready (HPA: `initial-readiness-delay`).
  package var initialReadinessDelay: Duration
  /// The age at which a sample no longer counts, where its metric says nothing else.
  package var freshness: Duration
  /// How long an unplaced worker may wait before the cluster counts as full.
  package var capacityPendingThreshold: Duration
  /// How many further samples must show a collapsed demand before it is believed.
  package var collapseConfirmations: Int
  /// How many foreign changes within `contestWindow` make a contest.
  package var contestThreshold: Int
  /// How long foreign changes are remembered.
  package var contestWindow: Duration
  /// The shortest pause between own writes in a contest; it doubles up to `contestWindow`.
  package var contestBackOff: Duration
  /// The share of calls answered 429 above which a ceiling freezes growth, in parts per million.
  package var throttledFreezePPM: Int64
  /// How much of a limit growth may claim within a minute, in percent of that limit.
  package var rampPercentPerMinute: Int64
  /// How long growth has to show a gain, from the write on.
  package var gainSettling: Duration
  /// How long growth without gain isn't tried again; it doubles up to eight times this.
  package var gainBackOff: Duration

  /// Makes constants; without arguments those of the design.
  package init(
    cpuInitializationPeriod: Duration = .seconds(300), initialReadinessDelay: Duration = .seconds(30),
    freshness: Duration = .seconds(120), capacityPendingThreshold: Duration = .seconds(60),
    collapseConfirmations: Int = 2, contestThreshold: Int = 3, contestWindow: Duration = .seconds(600),
    contestBackOff: Duration = .seconds(60), throttledFreezePPM: Int64 = 10_000, rampPercentPerMinute: Int64 = 25,
    gainSettling: Duration = .seconds(180), gainBackOff: Duration = .seconds(600)
  ) {
    self.cpuInitializationPeriod = cpuInitializationPeriod
    self.initialReadinessDelay = initialReadinessDelay
    self.freshness = freshness
    self.capacityPendingThreshold = capacityPendingThreshold
    self.collapseConfirmations = collapseConfirmations
    self.contestThreshold = contestThreshold
    self.contestWindow = contestWindow
    self.contestBackOff = contestBackOff
    self.throttledFreezePPM = throttledFreezePPM
    self.rampPercentPerMinute = rampPercentPerMinute
    self.gainSettling = gainSettling
    self.gainBackOff = gainBackOff
  }
}
