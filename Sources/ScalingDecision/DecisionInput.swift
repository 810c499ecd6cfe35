package import KubernetesCore

/// Everything that was observed for one decision.
///
/// `workers` and per-worker samples are sorted by name when the value is made, so that a lister's order can't matter.
package struct DecisionInput: Hashable, Sendable {
  /// The civil time of the observation.
  package var now: Timestamp
  /// `spec.replicas` of the target's scale: the count that everything is decided from.
  package var specReplicas: Int
  /// `status.replicas` of the target's scale; reported, never decided from.
  package var statusReplicas: Int
  /// All pods under the target's selector, sorted by name.
  package private(set) var workers: [WorkerObservation]
  /// One reading for each metric of the spec, in its order; a missing one counts as unavailable.
  package var readings: [MetricReading] { didSet { table = WorkerTable(workers, readings) } }
  /// Work completed by the whole fleet since some fixed moment, where workers report it.
  package var completedWork: Int64?
  /// Who else wrote the count last, from the scale's `managedFields`; nil when nobody else did, or it isn't known.
  package var foreignWriter: ForeignWriter?
  /// An older autoscaler that names the same target: this one then decides nothing.
  package var olderRival: String?
  /// How many workers report whose pods aren't known yet: the cache is behind.
  package var unseenWorkers: Int
  /// `workers` and the per-worker readings joined by name, as numbers: what decisions compute with.
  private(set) var table: WorkerTable

  /// Makes an input; workers and samples may come in any order.
  package init(
    now: Timestamp, specReplicas: Int, statusReplicas: Int, workers: [WorkerObservation] = [],
    readings: [MetricReading] = [], completedWork: Int64? = nil, foreignWriter: ForeignWriter? = nil,
    olderRival: String? = nil, unseenWorkers: Int = 0
  ) {
    self.now = now
    self.specReplicas = specReplicas
    self.statusReplicas = statusReplicas
    self.workers = workers.isSortedByName ? workers : workers.sorted { $0.name < $1.name }
    self.readings = readings
    table = WorkerTable(self.workers, readings)
    self.completedWork = completedWork
    self.foreignWriter = foreignWriter
    self.olderRival = olderRival
    self.unseenWorkers = unseenWorkers
  }
}

/// Another writer of the count.
package struct ForeignWriter: Hashable, Sendable, Codable {
  /// The field manager's name, such as `kubectl` or `argocd-controller`.
  package var manager: String
  /// When it wrote; nil if that isn't known.
  package var at: Timestamp?

  /// Names a writer.
  package init(manager: String, at: Timestamp? = nil) {
    self.manager = manager
    self.at = at
  }
}

/// One pod of the target as far as decisions look at it.
package struct WorkerObservation: Hashable, Sendable, Codable {
  /// `status.phase`.
  package enum Phase: String, Hashable, Sendable, Codable {
    case pending = "Pending"
    case running = "Running"
    case succeeded = "Succeeded"
    case failed = "Failed"
    case unknown = "Unknown"

    /// Whether the pod will never run again.
    package var isFinal: Bool {
      switch self {
      case .succeeded, .failed: true
      case .pending, .running, .unknown: false
      }
    }
  }

  /// The `Ready` condition.
  package struct Readiness: Hashable, Sendable, Codable {
    /// Status `True`; both `False` and `Unknown` are not ready, as told apart by `isUnknown`.
    package var isReady: Bool
    /// Status `Unknown`: the node has lost contact.
    package var isUnknown: Bool
    /// `lastTransitionTime`.
    package var since: Timestamp

    /// Makes a condition.
    package init(isReady: Bool, since: Timestamp, isUnknown: Bool = false) {
      self.isReady = isReady
      self.isUnknown = isUnknown
      self.since = since
    }
  }

  /// The pod's name.
  package var name: String
  /// `status.phase`.
  package var phase: Phase
  /// `metadata.deletionTimestamp` is set.
  package var isDeleting: Bool
  /// The `Ready` condition; nil when there is none.
  package var readiness: Readiness?
  /// `metadata.creationTimestamp`.
  package var createdAt: Timestamp
  /// `status.startTime`; nil before the kubelet has seen the pod.
  package var startedAt: Timestamp?
  /// Whether a node has been found.
  package var isScheduled: Bool
  /// What its containers request.
  package var requests: WorkerRequests
  /// What the embedded library reports; nil when there is none, or it has lost contact.
  package var activity: WorkerActivity?
  /// The annotation `controller.kubernetes.io/pod-deletion-cost`; 0 when not set.
  package var deletionCost: Int32
  /// What identifies the object that replaces the pod, such as its ReplicaSet; nil: there is none, or it isn't known.
  package var owner: String?
  /// Whether the pod has the sidecar, whose readiness probe fails once the worker has drained; nil: no.
  package var hasSidecar: Bool?
  /// `hasSidecar`, for reading.
  var failsProbeWhenDrained: Bool { hasSidecar == true }

  /// Makes an observation; without further arguments a running, scheduled pod with no `Ready` condition.
  package init(
    name: String, phase: Phase = .running, isDeleting: Bool = false, readiness: Readiness? = nil,
    createdAt: Timestamp, startedAt: Timestamp? = nil, isScheduled: Bool = true,
    requests: WorkerRequests = WorkerRequests(), activity: WorkerActivity? = nil, deletionCost: Int32 = 0,
    owner: String? = nil,
    hasSidecar: Bool? = nil
  ) {
    self.name = name
    self.phase = phase
    self.isDeleting = isDeleting
    self.readiness = readiness
    self.createdAt = createdAt
    self.startedAt = startedAt
    self.isScheduled = isScheduled
    self.requests = requests
    self.activity = activity
    self.deletionCost = deletionCost
    self.owner = owner
    self.hasSidecar = hasSidecar
  }

  /// Whether the pod still is, or will be, a worker: neither finished nor being deleted.
  package var isAlive: Bool { !isDeleting && !phase.isFinal }
  /// Whether the pod runs and is ready.
  package var isReady: Bool { phase == .running && readiness?.isReady == true }
}

/// What the containers of a worker request, in thousandths (of a core, of a byte).
package struct WorkerRequests: Hashable, Sendable, Codable {
  /// The requests of one container (restartable init containers included).
  package struct Container: Hashable, Sendable, Codable {
    /// The container's name.
    package var name: String
    /// CPU in thousandths of a core; nil: no request.
    package var cpu: Int64?
    /// Memory in thousandths of a byte; nil: no request.
    package var memory: Int64?

    /// Makes a container's requests.
    package init(name: String, cpu: Int64? = nil, memory: Int64? = nil) {
      self.name = name
      self.cpu = cpu
      self.memory = memory
    }
  }

  /// CPU of the whole worker: the pod-level request, else the sum; nil when a container has none.
  package var cpu: Int64?
  /// Memory of the whole worker: the pod-level request, else the sum; nil when a container has none.
  package var memory: Int64?
  /// The requests of each container.
  package var containers: [Container]

  /// Makes requests; the worker's totals are the pod-level ones where given, else the sums over the containers.
  package init(podCPU: Int64? = nil, podMemory: Int64? = nil, containers: [Container] = []) {
    self.containers = containers
    self.cpu = podCPU ?? Self.sum(containers, \.cpu)
    self.memory = podMemory ?? Self.sum(containers, \.memory)
  }

  /// The request that a metric of `resource` is measured against; nil: there is none.
  package func request(of resource: ComputeResource, container: String?) -> Int64? {
    if let container {
      guard let found = containers.first(where: { $0.name == container }) else { return nil }
      return resource == .cpu ? found.cpu : found.memory
    }
    return resource == .cpu ? cpu : memory
  }

  private static func sum(_ containers: [Container], _ value: (Container) -> Int64?) -> Int64? {
    guard !containers.isEmpty else { return nil }
    var total: Int64 = 0
    for container in containers {
      guard let request = value(container) else { return nil }
      total = total.addingSaturated(request)
    }
    return total
  }
}

/// What the embedded library reports about a worker's work.
package struct WorkerActivity: Hashable, Sendable, Codable {
  /// How far a drain order has come.
  package enum Drain: Hashable, Sendable, Codable {
    /// The worker takes new work.
    case none
    /// It was told to drain, and hasn't answered yet.
    case ordered(since: Timestamp)
    /// It takes no new work; what it has it finishes.
    case acknowledged(since: Timestamp)
  }

  /// Pieces of work in hand.
  package var inFlight: Int
  /// How many pieces it can hold at once.
  package var slots: Int
  /// When the oldest piece was begun.
  package var oldestWorkAt: Timestamp?
  /// Since when there is work that the worker's end would lose, where it keeps checkpoints; nil: since `oldestWorkAt`.
  package var unsavedSince: Timestamp?
  /// When it said that it takes no work and has none; nil: it hasn't, or that isn't known.
  package var drainedAt: Timestamp?
  /// Whether it stands still until the API budget grants a request.
  package var isWaitingForAPI: Bool
  /// How far a drain order has come.
  package var drain: Drain

  /// Makes a report.
  package init(
    inFlight: Int, slots: Int = 1, oldestWorkAt: Timestamp? = nil, isWaitingForAPI: Bool = false, drain: Drain = .none,
    unsavedSince: Timestamp? = nil, drainedAt: Timestamp? = nil
  ) {
    self.inFlight = inFlight
    self.slots = slots
    self.oldestWorkAt = oldestWorkAt
    self.isWaitingForAPI = isWaitingForAPI
    self.drain = drain
    self.unsavedSince = unsavedSince
    self.drainedAt = drainedAt
  }

  /// Since when there is work that the worker's end would lose.
  var lossSince: Timestamp? { unsavedSince ?? oldestWorkAt }
  /// Whether the worker has work that its removal would lose.
  package var isBusy: Bool { inFlight > 0 || isWaitingForAPI }
}

/// What was read for one metric.
package enum MetricReading: Hashable, Sendable, Codable {
  /// A number of each worker, sorted by worker: make it with `perWorker(_:)`.
  case workers(WorkerSamples)
  /// One number in thousandths, and when it was measured (nil: just now).
  case value(milli: Int64, at: Timestamp?)
  /// The numbers of all series in thousandths, to be added; none is an empty reply.
  case series(milli: [Int64], at: Timestamp?)
  /// Work queued and in flight.
  case backlog(BacklogReport)
  /// The count that a schedule asks for now, if any, and when that changes.
  case schedule(replicas: Int?, until: Timestamp?)
  /// The load on a shared rate budget.
  case budget(BudgetReport)
  /// Nothing usable.
  case unavailable(UnavailableReason)

  /// Samples by worker in any order.
  package static func perWorker(_ samples: [WorkerSample]) -> MetricReading { .workers(WorkerSamples(samples)) }
}

/// Samples of one metric, sorted by the name of the worker.
package struct WorkerSamples: Hashable, Sendable {
  /// The samples, sorted by worker.
  package let samples: [WorkerSample]

  /// Sorts samples that come in any order.
  package init(_ samples: [WorkerSample]) {
    self.samples = samples.isSortedByWorker ? samples : samples.sorted { $0.worker < $1.worker }
  }
}

/// One number of one worker.
package struct WorkerSample: Hashable, Sendable, Codable {
  /// The worker's name.
  package var worker: String
  /// The number in thousandths; negative ones count as missing.
  package var milli: Int64
  /// When it was measured.
  package var at: Timestamp
  /// The length of time that it covers.
  package var window: Duration

  /// Makes a sample.
  package init(worker: String, milli: Int64, at: Timestamp, window: Duration = .zero) {
    self.worker = worker
    self.milli = milli
    self.at = at
    self.window = window
  }
}

/// Work queued and in flight, as the workers' library or a queue reports it.
package struct BacklogReport: Hashable, Sendable, Codable {
  /// Pieces that wait.
  package var queued: Int64
  /// Pieces in hand.
  package var inFlight: Int64
  /// How many pieces a worker holds at once; 1 when unknown.
  package var slotsPerWorker: Int64
  /// When it was measured; nil: just now.
  package var at: Timestamp?

  /// Makes a report.
  package init(queued: Int64, inFlight: Int64, slotsPerWorker: Int64 = 1, at: Timestamp? = nil) {
    self.queued = queued
    self.inFlight = inFlight
    self.slotsPerWorker = slotsPerWorker
    self.at = at
  }
}

/// What can run out in a budget.
package enum BudgetDimension: String, Hashable, Sendable, Codable, CaseIterable {
  case requests
  case inputTokens
  case outputTokens
  /// Money per hour.
  case hourlySpend
  /// Money per day, as the hourly rate that lasts until its end.
  case dailySpend
}

/// The load of one fleet on a shared budget.
package struct BudgetReport: Hashable, Sendable, Codable {
  /// One dimension's load; both numbers in the same unit per time.
  package struct Load: Hashable, Sendable, Codable {
    /// What the load is of.
    package var dimension: BudgetDimension
    /// What this fleet may use: its share, without what others use.
    package var limit: Int64
    /// What its workers want now: admitted and waiting.
    package var offered: Int64
    /// The part of it that has outlasted the burst allowance.
    package var sustained: Int64
    /// Band edges in percent of this dimension's own; nil: the metric's target.
    package var band: Band?

    /// The band of a dimension that differs from its metric's.
    package struct Band: Hashable, Sendable, Codable {
      /// The lower edge in percent.
      package var lower: Int64
      /// The upper edge in percent.
      package var upper: Int64

      /// Makes a band.
      package init(lower: Int64, upper: Int64) {
        self.lower = lower
        self.upper = upper
      }
    }

    /// Makes a load; without `sustained` all of it has lasted.
    package init(
      _ dimension: BudgetDimension, limit: Int64, offered: Int64, sustained: Int64? = nil, band: Band? = nil
    ) {
      self.dimension = dimension
      self.limit = limit
      self.offered = offered
      self.sustained = sustained ?? offered
      self.band = band
    }
  }

  /// The loads; at most one for each dimension counts.
  package var loads: [Load]
  /// Calls answered 429, in parts per million of all.
  package var throttledPPM: Int64
  /// The provider refused the speed of growth, not the rate.
  package var isRampLimited: Bool
  /// The limits are still being learned: they may be lower than they look.
  package var isLearning: Bool
  /// When it was measured; nil: just now.
  package var at: Timestamp?

  /// Makes a report.
  package init(
    loads: [Load], throttledPPM: Int64 = 0, isRampLimited: Bool = false, isLearning: Bool = false,
    at: Timestamp? = nil
  ) {
    self.loads = loads
    self.throttledPPM = throttledPPM
    self.isRampLimited = isRampLimited
    self.isLearning = isLearning
    self.at = at
  }
}

/// Why a source gave nothing usable.
package enum UnavailableReason: String, Hashable, Sendable, Codable {
  /// The source couldn't be reached, or refused.
  case sourceFailed
  /// The source answered that there is no such series; the metric's `absent` policy applies.
  case absent
  /// The reply is no number: empty body, NaN, infinity, out of range.
  case notANumber
  /// The metric's configuration can't be used.
  case misconfigured
  /// The source hasn't been read yet.
  case notYetRead
}

extension [WorkerObservation] {
  /// Whether the workers stand in the order of their names.
  var isSortedByName: Bool {
    var index = 1
    while index < count {
      if self[index].name < self[index - 1].name { return false }
      index += 1
    }
    return true
  }
}

extension [WorkerSample] {
  /// Whether the samples stand in the order of their workers.
  var isSortedByWorker: Bool {
    var index = 1
    while index < count {
      if self[index].worker < self[index - 1].worker { return false }
      index += 1
    }
    return true
  }
}
