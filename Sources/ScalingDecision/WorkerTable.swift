import KubernetesCore

/// Workers and their samples as plain numbers, joined by name when an observation is made.
///
/// A decision goes through all workers once for each metric. `WorkerObservation` holds texts and lists, whose counted
/// references are touched by each copy, and comparisons of names cost more than all the arithmetic; these rows are copied
/// like numbers, lie side by side in memory, and find each other by index.
struct WorkerTable: Hashable, Sendable {
  /// What decisions ask of one worker.
  struct Worker: Hashable, Sendable {
    /// `WorkerObservation.isAlive`.
    var isAlive: Bool
    /// Its phase is `Pending`.
    var isPending: Bool
    /// It runs and is ready.
    var isReady: Bool
    /// It has a `Ready` condition.
    var hasReadiness: Bool
    /// That condition is `False`.
    var isUnready: Bool
    /// The kubelet has seen it.
    var hasStarted: Bool
    /// A node has been found.
    var isScheduled: Bool
    /// It reports its own work.
    var isReporting: Bool
    /// It stands still until the API budget grants a request.
    var isWaitingForAPI: Bool
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
  }

  /// One number of one worker.
  struct Sample: Hashable, Sendable {
    /// The number in thousandths.
    var milli: Int64
    /// When it was measured.
    var at: Timestamp
    /// The length of time that it covers, in nanoseconds.
    var window: Int64
    /// Whether there is a number at all.
    var isPresent: Bool

    /// The place of a worker without a number.
    static let absent = Sample(milli: 0, at: Timestamp(nanosecondsSinceEpoch: 0), window: 0, isPresent: false)
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
          found = Sample(milli: sample.milli, at: sample.at, window: sample.window.nanoseconds, isPresent: true)
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
    isAlive = worker.isAlive
    isPending = worker.phase == .pending
    isReady = worker.isReady
    hasReadiness = worker.readiness != nil
    isUnready = worker.readiness.map { !$0.isReady && !$0.isUnknown } ?? false
    hasStarted = worker.startedAt != nil
    isScheduled = worker.isScheduled
    isReporting = worker.activity != nil
    isWaitingForAPI = worker.activity?.isWaitingForAPI ?? false
    readySince = worker.readiness?.since ?? epoch
    startedAt = worker.startedAt ?? epoch
    createdAt = worker.createdAt
    cpu = worker.requests.cpu ?? -1
    memory = worker.requests.memory ?? -1
  }
}
