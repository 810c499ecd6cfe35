import KubernetesCore
import KubernetesRuntime
import Logging
import Synchronization

extension PodEngine {
  private static let pods = NodePod.resource

  /// Brings the API server's view of a pod up to date: the status, and then that its deletion is done.
  func report(_ uid: String) async -> WorkOutcome {
    do {
      if let entry = state.withLock({ $0.entries[uid] }) { return try await report(entry) }
      if let verdict = state.withLock({ $0.verdicts[uid] }) { return try await report(verdict) }
      return .done
    } catch let error as KubernetesError {
      return outcome(of: error, uid)
    } catch {
      return .retry(after: nil)
    }
  }

  private func outcome(of error: KubernetesError, _ uid: String) -> WorkOutcome {
    switch error.code {
    case .notFound, .conflict:
      // The pod is gone, or another one has its name: the informer tells soon, and what runs is ended then.
      return .done
    default:
      logger.log(
        level: error.disposition == .terminal ? .warning : .debug, "a pod's status could not be written; trying again",
        metadata: ["pod.uid": "\(uid)", "error": "\(error)"])
      if case .retry(let after) = error.disposition { return .retry(after: after) }
      return .retry(after: .seconds(5))
    }
  }

  private func report(_ entry: Entry) async throws -> WorkOutcome {
    let pod = entry.pod
    if entry.isGone { return .done }
    let status = entry.lifecycle.snapshot.json(
      uid: pod.uid, podIP: entry.address, hostIP: configuration.hostIP, foreign: pod.status.list("conditions"),
      gates: pod.manifest.readinessGates)
    if status != entry.sentStatus {
      try await write(status, pod)
      state.withLock { $0.entries[pod.uid]?.sentStatus = status }
    }
    if entry.lifecycle.isFinished, pod.deletionGrace != nil { try await confirmDeletion(pod) }
    return .done
  }

  private func report(_ verdict: Verdict) async throws -> WorkOutcome {
    let pod = verdict.pod
    if let refusal = verdict.refusal, !verdict.isTold {
      let status: JSONValue = [
        "phase": "Failed", "reason": .string(refusal.reason), "message": .string(refusal.message),
        "startTime": .string(time.wallNow.rfc3339),
      ]
      try await write(status, pod)
      state.withLock { $0.verdicts[pod.uid]?.isTold = true }
      let object = ObjectReference(
        apiVersion: "v1", kind: "Pod", namespace: pod.key.namespace, name: pod.key.name, uid: pod.uid)
      events.record(
        EventOccurrence(object: object, severity: .warning, reason: refusal.reason, message: refusal.message))
    }
    if pod.deletionGrace != nil { try await confirmDeletion(pod) }
    return .done
  }

  private func write(_ status: JSONValue, _ pod: NodePod) async throws {
    // The identity is a precondition: another pod of this name must not get this one's status.
    let patch: JSONValue = ["metadata": ["uid": .string(pod.uid)], "status": status]
    let request = try APIRequest.patch(
      Self.pods, pod.key, .status, .merge(patch.text), WriteOptions(fieldManager: "swarmscale-node", priority: .status))
    _ = try await client.raw(request)
  }

  /// Tells the API server that nothing of a deleted pod runs any more, upon which it goes.
  private func confirmDeletion(_ pod: NodePod) async throws {
    _ = try await client.raw(.delete(Self.pods, pod.key, DeleteOptions(gracePeriod: .zero, uid: pod.uid)))
  }
}
