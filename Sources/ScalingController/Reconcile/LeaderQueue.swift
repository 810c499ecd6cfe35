import KubernetesCore
import KubernetesRuntime
import ScalingAPI
import Synchronization

/// Hands what the informer sees to the queue of the present leadership, and drops it when we don't lead.
///
/// Only what a person changed (generation, annotations, existence) makes a pass at once; our own status writes come
/// back through the watch as well and must not.
final class LeaderQueue: Sendable {
  private struct Seen {
    var uid: String
    var generation: Int64
    var annotations: [String: String]
  }

  private struct State {
    var runner: WorkQueueRunner<ObjectKey>?
    var seen: [ObjectKey: Seen] = [:]
    var lookup: InformerLookup?
  }

  private let state = Mutex(State())

  /// Where objects are looked up; set once, before anything runs.
  var lookup: InformerLookup? {
    get { state.withLock { $0.lookup } }
    set { state.withLock { $0.lookup = newValue } }
  }

  /// The numbers of the present queue; nil when we don't lead.
  var metrics: WorkQueueMetrics? { state.withLock { $0.runner }?.metrics }

  /// Begins to hand keys to `runner`, `keys` first.
  func begin(_ runner: WorkQueueRunner<ObjectKey>, keys: [ObjectKey]) {
    state.withLock { $0.runner = runner }
    for key in keys { runner.add(key) }
  }

  /// Drops what comes from now on.
  func end() {
    state.withLock { $0.runner = nil }
  }

  /// Takes in a notification of the autoscalers' informer.
  func note(_ notification: InformerNotification) {
    guard case .changed(let key, let change) = notification else { return }
    let object = lookup?.autoscaler(key)
    let (runner, isNews) = state.withLock { state -> (WorkQueueRunner<ObjectKey>?, Bool) in
      guard let object, change != .deleted else {
        state.seen[key] = nil
        return (state.runner, true)
      }
      let metadata = object.metadata
      let seen = Seen(uid: metadata.uid, generation: metadata.generation, annotations: metadata.annotations)
      let old = state.seen.updateValue(seen, forKey: key)
      let isNews =
        old.map { $0.uid != seen.uid || $0.generation != seen.generation || $0.annotations != seen.annotations } ?? true
      return (state.runner, isNews)
    }
    if isNews { runner?.add(key) }
  }
}
