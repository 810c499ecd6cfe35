import KubernetesCore

/// Workers and their samples as plain numbers, joined by name when an observation is made.
///
/// A decision goes through all workers once for each metric. `WorkerObservation` holds texts and lists, whose counted
/// references are touched by each copy, and comparisons of names cost more than all the arithmetic; these rows are copied
/// like numbers, lie side by side in memory, and find each other by index.
struct WorkerTable: Hashable, Sendable {
  /// What decisions ask of one worker; 48 bytes, since ten thousand objects' rows don't stay in any cache.
  struct Worker: Hashable, Sendable {
    /// What holds or doesn't, one bit each.
    struct Flags: OptionSet, Hashable, Sendable {
      let rawValue: UInt16
      /// `WorkerObservation.isAlive`.
      static let isAlive = Flags(rawValue: 1 << 0)
      /// Its phase is `Pending`.
      static let isPending = Flags(rawValue: 1 << 1)
      /// It runs and is ready.
      static let isReady = Flags(rawValue: 1 << 2)
      /// It has a `Ready` condition.
      static let hasReadiness = Flags(rawValue: 1 << 3)
      /// That condition is `False`.
      static let isUnready = Flags(rawValue: 1 << 4)
      /// The kubelet has seen it.
      static let hasStarted = Flags(rawValue: 1 << 5)
      /// A node has been found.
      static let isScheduled = Flags(rawValue: 1 << 6)
      /// It reports its own work.
      static let isReporting = Flags(rawValue: 1 << 7)
      /// It stands still until the API budget grants a request.
      static let isWaitingForAPI = Flags(rawValue: 1 << 8)
    }

    /// What holds of it.
    var flags: Flags
    /// When its `Ready` condition changed last.
    var readySince: Timestamp
    /// When the kubelet saw it.
    var startedAt: Timestamp
    /// When it was created.
    var createdAt: Timestamp
    /// Its request of CPU in thousandths of a core; negative: none.
    var cpu: Int64
    /// Its request of memory in thousandths of a byte; negative: none.
    var memory: Int64

    /// `Flags.isAlive`.
    var isAlive: Bool { flags.contains(.isAlive) }
    /// `Flags.isPending`.
    var isPending: Bool { flags.contains(.isPending) }
    /// `Flags.isReady`.
    var isReady: Bool { flags.contains(.isReady) }
    /// `Flags.hasReadiness`.
    var hasReadiness: Bool { flags.contains(.hasReadiness) }
    /// `Flags.isUnready`.
    var isUnready: Bool { flags.contains(.isUnready) }
    /// `Flags.hasStarted`.
    var hasStarted: Bool { flags.contains(.hasStarted) }
    /// `Flags.isScheduled`.
    var isScheduled: Bool { flags.contains(.isScheduled) }
    /// `Flags.isReporting`.
    var isReporting: Bool { flags.contains(.isReporting) }
    /// `Flags.isWaitingForAPI`.
    var isWaitingForAPI: Bool { flags.contains(.isWaitingForAPI) }
  }

  /// One number of one worker, or none; 24 bytes.
  struct Sample: Hashable, Sendable {
    /// The number in thousandths; negative ones aren't used, and the most negative one says that there is none.
    private(set) var milli: Int64
    /// When it was measured.
    private(set) var at: Timestamp
    /// The length of time that it covers, in nanoseconds.
    private(set) var window: Int64

    /// Whether there is a number at all.
    var isPresent: Bool { milli != .min }

    /// The place of a worker without a number.
    static let absent = Sample()

    private init() {
      milli = .min
      at = Timestamp(nanosecondsSinceEpoch: 0)
      window = 0
    }

    /// Takes the numbers of `sample`.
    init(_ sample: WorkerSample) {
      milli = max(sample.milli, .min + 1)
      at = sample.at
      window = sample.window.nanoseconds
    }
  }

  /// The workers in the order of their names.
  private(set) var workers: [Worker] = []
  /// For each per-worker reading, in their order, a row of one sample for each worker.
  private(set) var samples: [Sample] = []

  /// Joins `workers`, sorted by name, with the per-worker ones of `readings`.
  init(_ workers: [WorkerObservation], _ readings: [MetricReading]) {
    guard !workers.isEmpty else { return }
    self.workers.reserveCapacity(workers.count)
    for worker in workers { self.workers.append(Worker(worker)) }
    samples.reserveCapacity(workers.count * readings.count)
    for reading in readings {
      if case .workers(let row) = reading { join(workers, row.samples) }
    }
  }

  /// Appends the row of `samples`, sorted by worker as well; of several of one worker the first counts.
  private mutating func join(_ workers: [WorkerObservation], _ samples: [WorkerSample]) {
    var next = 0
    for worker in workers {
      var found = Sample.absent
      while next < samples.count {
        let sample = samples[next]
        if sample.worker == worker.name {
          found = Sample(sample)
          break
        }
        guard sample.worker < worker.name else { break }
        next += 1
      }
      self.samples.append(found)
    }
  }
}

extension WorkerTable.Worker {
  /// Takes the numbers of `worker`.
  fileprivate init(_ worker: WorkerObservation) {
    let epoch = Timestamp(nanosecondsSinceEpoch: 0)
    flags = []
    if worker.isAlive { flags.insert(.isAlive) }
    if worker.phase == .pending { flags.insert(.isPending) }
    if worker.isReady { flags.insert(.isReady) }
    if worker.readiness != nil { flags.insert(.hasReadiness) }
    if let readiness = worker.readiness, !readiness.isReady, !readiness.isUnknown { flags.insert(.isUnready) }
    if worker.startedAt != nil { flags.insert(.hasStarted) }
    if worker.isScheduled { flags.insert(.isScheduled) }
    if let activity = worker.activity {
      flags.insert(.isReporting)
      if activity.isWaitingForAPI { flags.insert(.isWaitingForAPI) }
    }
    readySince = worker.readiness?.since ?? epoch
    startedAt = worker.startedAt ?? epoch
    createdAt = worker.createdAt
    cpu = worker.requests.cpu ?? -1
    memory = worker.requests.memory ?? -1
  }
}
