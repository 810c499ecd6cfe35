package import KubernetesCore
package import ScalingDecision

/// What the workers of one autoscaler report about their work, as far as it is known at one moment.
package struct FleetActivityReport: Hashable, Sendable {
  /// What one worker said last.
  package struct Worker: Hashable, Sendable {
    /// The pod's `metadata.uid`: a StatefulSet's next pod has the same name and other work.
    ///
    /// Empty: not known, any matches.
    package var uid: String
    /// What it does.
    package var activity: WorkerActivity
    /// When it said so, in civil time.
    package var at: Timestamp

    /// Makes a worker's report.
    package init(uid: String = "", activity: WorkerActivity, at: Timestamp) {
      self.uid = uid
      self.activity = activity
      self.at = at
    }
  }

  /// The workers' reports by pod name, in the namespace of the autoscaler.
  package var workers: [String: Worker]
  /// Their work in sum; nil where they report none.
  package var backlog: BacklogReport?
  /// The pieces of work that they have finished since some fixed moment; nil: not known.
  package var completedWork: Int64?
  /// Whether every worker of this fleet reports, so that one without a report has lost contact, not its work.
  ///
  /// A fleet without the embedded library must not be held up by workers that never say anything.
  package var expectsReports: Bool

  /// Makes a report.
  package init(workers: [String: Worker] = [:], backlog: BacklogReport? = nil, expectsReports: Bool = true) {
    self.workers = workers
    self.backlog = backlog
    self.expectsReports = expectsReports
  }

  /// How long a report counts as one that was made just now.
  private static let recent = Duration.seconds(5)

  /// How many workers report now whose pods aren't among `pods`.
  package func unseenWorkers(among pods: [Pod], now: Timestamp) -> Int {
    guard workers.values.contains(where: { !$0.uid.isEmpty }) else { return 0 }
    var uids = Set(pods.map(\.uid))
    uids.insert("")
    return workers.values.count { !uids.contains($0.uid) && now - $0.at <= Self.recent }
  }

  /// What the worker in `pod` does; nil when it hasn't said, or not within `freshness` of `now`.
  package func activity(of pod: Pod, now: Timestamp, freshness: Duration) -> WorkerActivity? {
    guard let worker = workers[pod.key.name], worker.uid.isEmpty || worker.uid == pod.uid else { return nil }
    // A report from the future is one of another clock: as with samples, it counts as little as an old one.
    let age = now - worker.at
    return age <= freshness && age >= .zero - freshness ? worker.activity : nil
  }
}
