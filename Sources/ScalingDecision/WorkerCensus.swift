import KubernetesCore

/// What a decision asks of the workers as a whole, counted once.
struct WorkerCensus {
  /// Workers that run and are ready; nil when no workers are known at all.
  private(set) var ready: Int?
  /// Workers that stand still until the API budget grants a request.
  private(set) var waitingForAPI = 0
  /// Whether some worker reports its own work.
  private(set) var isReporting = false
  /// Workers that have waited for a node so long that the cluster counts as full.
  private(set) var unplaced = 0
  /// When the next worker will have waited so long; nil: none waits.
  private(set) var nextUnplacedAt: Milliseconds?

  /// Counts `workers` as of `now`; who waits longer than `threshold` for a node has found the cluster full.
  init(_ workers: [WorkerTable.Worker], now: Milliseconds, threshold: Duration) {
    guard !workers.isEmpty else { return }
    var ready = 0
    for worker in workers where worker.isAlive {
      if worker.isReady { ready += 1 }
      if worker.isReporting { isReporting = true }
      if worker.isWaitingForAPI { waitingForAPI += 1 }
      guard !worker.isScheduled, worker.isPending else { continue }
      let full = (worker.createdAt + threshold).milliseconds
      if now > full {
        unplaced += 1
      } else {
        nextUnplacedAt = min(nextUnplacedAt ?? .max, full.addingSaturated(1))
      }
    }
    self.ready = ready
  }
}
