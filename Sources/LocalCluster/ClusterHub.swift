import KubernetesCore
import KubernetesRuntime
import LocalAPI
import Synchronization

/// The cluster's state, shared between the requests, the watches and the controllers' loop.
final class ClusterHub: Sendable {
  private struct Shared {
    var cluster: ClusterState
    var generator = SystemRandomNumberGenerator()
    /// Who waits for changes.
    var watchers: [UInt64: Wakeup] = [:]
    var nextWatcher: UInt64 = 0
    var isClosed = false
  }

  private let shared: Mutex<Shared>
  private let time: any TimeSource
  /// Wakes the controllers' loop.
  let controllers = Wakeup()
  /// Wakes whoever writes snapshots.
  let snapshots = Wakeup()

  init(
    limits: ClusterState.Limits, snapshot: JSONValue?, externalMetrics: [String] = [], time: any TimeSource
  ) throws(LocalClusterError) {
    var generator = SystemRandomNumberGenerator()
    var cluster = ClusterState(limits: limits, at: time.wallNow, using: &generator)
    if let snapshot {
      guard let restored = ClusterState(snapshot: snapshot, limits: limits, at: time.wallNow, using: &generator) else {
        throw LocalClusterError(
          "The snapshot is not one of a local cluster; move it away, or name another file.")
      }
      cluster = restored
    }
    cluster.externalMetrics = externalMetrics
    shared = Mutex(Shared(cluster: cluster))
    self.time = time
  }

  /// Whether the server is about to end.
  var isClosed: Bool { shared.withLock { $0.isClosed } }

  /// Ends all watches.
  func close() {
    let watchers = shared.withLock { shared in
      shared.isClosed = true
      return Array(shared.watchers.values)
    }
    for watcher in watchers { watcher.signal() }
    controllers.signal()
    snapshots.signal()
  }

  /// The user that a token of a service account stands for.
  func caller(token: String) -> String? {
    shared.withLock { $0.cluster.caller(token: token, at: time.wallNow) }
  }

  func respond(to call: APICall) -> APIAnswer {
    let (answer, hasChanged) = shared.withLock { shared in
      let before = shared.cluster.store.version
      let answer = shared.cluster.respond(to: call, at: time.wallNow, using: &shared.generator)
      return (answer, shared.cluster.store.version != before)
    }
    if hasChanged { announce(toControllers: true) }
    return answer
  }

  /// Lets the controllers do their work; answers how long they have nothing to do if nothing changes.
  func settle() -> Duration? {
    let (deadline, hasChanged) = shared.withLock { shared in
      let before = shared.cluster.store.version
      let deadline = shared.cluster.settle(at: time.wallNow, using: &shared.generator)
      return (deadline, shared.cluster.store.version != before)
    }
    if hasChanged { announce(toControllers: false) }
    return deadline.map { max($0 - time.wallNow, .milliseconds(5)) }
  }

  private func announce(toControllers: Bool) {
    let watchers = shared.withLock { Array($0.watchers.values) }
    for watcher in watchers { watcher.signal() }
    if toControllers { controllers.signal() }
    snapshots.signal()
  }

  // MARK: Watches

  /// Registers somebody who waits for changes; give the id back to `remove`.
  func addWatcher() -> (id: UInt64, wakeup: Wakeup) {
    let wakeup = Wakeup()
    let id = shared.withLock { shared in
      shared.nextWatcher += 1
      shared.watchers[shared.nextWatcher] = wakeup
      return shared.nextWatcher
    }
    return (id, wakeup)
  }

  func removeWatcher(_ id: UInt64) {
    shared.withLock { _ = $0.watchers.removeValue(forKey: id) }
  }

  func initialFrames(for watch: WatchRequest) -> [JSONValue] {
    shared.withLock { $0.cluster.initialFrames(for: watch, at: time.wallNow) }
  }

  func changes(
    for watch: WatchRequest, after version: UInt64
  ) -> Result<(frames: [JSONValue], version: UInt64, isMore: Bool), VersionExpired> {
    shared.withLock { shared in
      do throws(VersionExpired) {
        return .success(try shared.cluster.changes(for: watch, after: version, at: time.wallNow))
      } catch {
        return .failure(error)
      }
    }
  }

  func bookmark(_ watch: WatchRequest, _ version: UInt64) -> JSONValue {
    shared.withLock { $0.cluster.bookmark(watch, version) }
  }

  // MARK: Snapshots

  var version: UInt64 { shared.withLock { $0.cluster.store.version } }

  var snapshot: JSONValue { shared.withLock { $0.cluster.store }.snapshot }

  /// Forgets the changes so far, so that watches from before begin anew; for tests of clients.
  func compact() {
    shared.withLock { $0.cluster.compact() }
  }
}
