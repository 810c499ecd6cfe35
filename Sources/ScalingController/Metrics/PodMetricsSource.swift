package import KubernetesCore
package import KubernetesRuntime
package import ScalingObservation
import Synchronization

/// Reads CPU and memory of pods from `metrics.k8s.io`, once for everybody who asks at about the same time.
///
/// The HPA lists once per autoscaler and metric. Here one list serves CPU and memory, and, where many autoscalers
/// share a namespace, all of them: a thousand autoscalers cost one request a pass instead of two thousand.
package final class PodMetricsSource: Sendable {
  /// What a list gave: the pods' use sorted by pod name, or why there is none.
  package enum Snapshot: Sendable {
    /// The use of each pod, sorted by pod name.
    case usage([PodUsage])
    /// The metrics API couldn't be read.
    case failed(KubernetesError)
  }

  /// The kind of resource.
  private static let resource = GroupVersionResource(group: "metrics.k8s.io", version: "v1beta1", resource: "pods")

  private struct Key: Hashable {
    var namespace: String
    var selector: String
  }

  private enum Entry {
    case fetching([CheckedContinuation<Snapshot?, Never>])
    case ready(Snapshot, at: MonotonicTime)
  }

  private let client: APIClient
  private let time: any TimeSource
  private let lifetime: Duration
  private let storedKey: @Sendable (ObjectKey) -> ObjectKey?
  private let entries = Mutex<[Key: Entry]>([:])

  /// Makes a source whose lists are shared for `lifetime`; keep it well below the sync period.
  ///
  /// `storedKey` gives the copy of a pod's key that the pods' cache holds: a list takes the name from it instead of keeping a
  /// second one.
  package init(
    client: APIClient, time: any TimeSource, lifetime: Duration,
    storedKey: @escaping @Sendable (ObjectKey) -> ObjectKey? = { _ in nil }
  ) {
    self.client = client
    self.time = time
    self.lifetime = lifetime
    self.storedKey = storedKey
  }

  /// The use of all pods in the scope (and perhaps of others in its namespace).
  package func usage(in scope: MetricScope) async -> Snapshot {
    let selector = scope.sharesNamespace ? Selector.everything : scope.podSelector
    let key = Key(namespace: scope.namespace, selector: selector.description)
    while true {
      switch claim(key) {
      case .ready(let snapshot): return snapshot
      case .wait:
        if let snapshot = await wait(key) { return snapshot }
      case .fetch:
        let snapshot = await fetch(namespace: scope.namespace, selector: selector)
        finish(key, snapshot)
        return snapshot
      }
    }
  }

  private enum Claim {
    case ready(Snapshot)
    case wait
    case fetch
  }

  private func claim(_ key: Key) -> Claim {
    let now = time.monotonicNow
    return entries.withLock { entries in
      switch entries[key] {
      case .ready(let snapshot, let at) where now - at < lifetime: return .ready(snapshot)
      case .fetching: return .wait
      case .ready, nil:
        entries = entries.filter { entry in
          if case .ready(_, let at) = entry.value { now - at < lifetime } else { true }
        }
        entries[key] = .fetching([])
        return .fetch
      }
    }
  }

  /// Waits for the fetch in flight; nil when it ended in the meantime, so that the caller looks again.
  private func wait(_ key: Key) async -> Snapshot? {
    await withCheckedContinuation { (continuation: CheckedContinuation<Snapshot?, Never>) in
      let isWaiting = entries.withLock { entries -> Bool in
        guard case .fetching(let waiters) = entries[key] else { return false }
        entries[key] = .fetching(waiters + [continuation])
        return true
      }
      if !isWaiting { continuation.resume(returning: nil) }
    }
  }

  private func finish(_ key: Key, _ snapshot: Snapshot) {
    let now = time.monotonicNow
    let waiters = entries.withLock { entries -> [CheckedContinuation<Snapshot?, Never>] in
      guard case .fetching(let waiters) = entries[key] else { return [] }
      entries[key] = .ready(snapshot, at: now)
      return waiters
    }
    for waiter in waiters { waiter.resume(returning: snapshot) }
  }

  private func fetch(namespace: String, selector: Selector) async -> Snapshot {
    do {
      var request = try APIRequest.list(Self.resource, namespace: namespace, ListOptions(labelSelector: selector))
      request.timeout = metricsTimeout
      let response = try await client.raw(request)
      let usage = try PodUsage.list(parsing: response.body, now: time.wallNow) { name in
        storedKey(ObjectKey(namespace: namespace, name: name))?.name
      }
      return .usage(usage)
    } catch let failure as KubernetesError {
      var error = failure
      // No API of that name, or nobody behind it: the commonest reason is a metrics-server that isn't there.
      if error.code == .notFound || error.code == .serverFailure { error.message += Self.absenceAdvice }
      return .failed(error)
    } catch {
      return .failed(KubernetesError(.unreachable, "Reading pod metrics was interrupted: \(error)"))
    }
  }

  private static let absenceAdvice =
    " CPU and memory of pods come from the metrics-server; check that it is installed and available:"
    + " kubectl get apiservice v1beta1.metrics.k8s.io"
}
