package import KubernetesCore

/// A condition as this node reports it.
package struct PodCondition: Hashable, Sendable {
  /// The type, such as `Ready`.
  package var type: String
  /// Whether it holds.
  package var isTrue: Bool
  /// Why, in one word; nil where nothing needs saying.
  package var reason: String?
  /// Why, in words.
  package var message: String?
  /// When `isTrue` last changed.
  package var since: Timestamp
}

/// All of a pod's status that its own life decides; addresses and identities of containers come from the node.
package struct StatusSnapshot: Hashable, Sendable {
  /// One container's part.
  package struct Container: Hashable, Sendable {
    /// Where it stands, as the API words it.
    package enum State: Hashable, Sendable {
      case waiting(reason: String, message: String?)
      case running(startedAt: Timestamp)
      case terminated(ContainerTermination)
    }

    /// The name.
    package var name: String
    /// The image's name.
    package var image: String
    /// Whether it stands among the init containers.
    package var isInitial: Bool
    /// Where it stands.
    package var state: State
    /// How the run before ended.
    package var lastTermination: ContainerTermination?
    /// Whether it is ready.
    package var isReady: Bool
    /// Whether it is past its startup probe.
    package var isStarted: Bool
    /// How often it was started again.
    package var restartCount: Int
    /// The number of the run on this node, 0 before the first.
    package var run: Int
  }

  /// `Pending`, `Running`, `Succeeded` or `Failed`.
  package var phase: String
  /// Why the pod failed as a whole.
  package var reason: String?
  /// Why, in words.
  package var message: String?
  /// The conditions, in a fixed order.
  package var conditions: [PodCondition]
  /// Init containers, then app containers.
  package var containers: [Container]
  /// When the node took the pod on.
  package var startTime: Timestamp
}

extension PodLifecycle {
  /// The phase, by the kubelet's rules (`getPhase`).
  package var phase: String {
    if hasFinished, case .failed = ending?.cause { return "Failed" }
    let initial = containers.filter { $0.role == .initial }
    if !hasInitialized {
      let failed = initial.contains { $0.termination.map { $0.exitCode != 0 } ?? false }
      if hasFinished && (ending?.cause == .completed || ending?.cause == .deleted) && failed { return "Failed" }
      if !hasFinished { return "Pending" }
    }
    let apps = containers.filter { $0.role == .app }
    if apps.contains(where: { $0.isWaiting && $0.lastTermination == nil }) { return hasFinished ? "Failed" : "Pending" }
    if hasFinished { return apps.allSatisfy(\.hasSucceeded) ? "Succeeded" : "Failed" }
    if apps.contains(where: \.isRunning) || containers.contains(where: { $0.role == .sidecar && $0.isActive }) {
      return "Running"
    }
    return apps.contains(where: { $0.state == .starting && $0.run == 1 }) ? "Pending" : "Running"
  }

  /// The status now.
  package var snapshot: StatusSnapshot {
    var snapshot = StatusSnapshot(
      phase: phase, conditions: conditions, containers: containers.map(status(of:)), startTime: startTime.wall)
    if case .failed(let reason, let message) = ending?.cause, hasFinished {
      snapshot.reason = reason
      snapshot.message = message
    }
    return snapshot
  }

  private func status(of container: ContainerLifecycle) -> StatusSnapshot.Container {
    let isBefore = container.role != .app || !containers.contains { $0.role != .app }
    let standard = container.role == .app && isBefore ? "ContainerCreating" : "PodInitializing"
    let state: StatusSnapshot.Container.State
    switch container.state {
    case .waiting(let reason, let message, _): state = .waiting(reason: reason ?? standard, message: message)
    case .starting: state = .waiting(reason: standard, message: nil)
    case .running(let since): state = .running(startedAt: since.wall)
    case .ended(let end): state = .terminated(end)
    }
    return StatusSnapshot.Container(
      name: container.name, image: container.manifest.image, isInitial: container.role != .app, state: state,
      lastTermination: container.lastTermination, isReady: container.isReady, isStarted: container.isStarted,
      restartCount: container.restartCount, run: container.run)
  }

  /// Brings the conditions up to date; each keeps the time of its last change.
  mutating func updateConditions(_ now: Moment) {
    let phase = self.phase
    let over = phase == "Succeeded" ? "PodCompleted" : phase == "Failed" ? "PodFailed" : nil
    let waiting = containers.filter { $0.role != .app && !$0.hasSucceeded && !$0.isStarted }.map(\.name)
    let unready = containers.filter { $0.role != .initial && !$0.isReady }.map(\.name)
    let initialized = hasInitialized || waiting.isEmpty
    let readiness = over == nil && unready.isEmpty && hasInitialized
    let words = over == nil ? "containers with unready status: [\(unready.joined(separator: " "))]" : nil
    let unreadyReason = over ?? "ContainersNotReady"
    set("PodScheduled", true, nil, nil, now)
    set(
      "Initialized", initialized, initialized ? (phase == "Succeeded" ? over : nil) : "ContainersNotInitialized",
      initialized ? nil : "containers with incomplete status: [\(waiting.joined(separator: " "))]", now)
    for type in ["ContainersReady", "Ready"] {
      set(type, readiness, readiness ? nil : unreadyReason, readiness ? nil : words, now)
    }
  }

  private mutating func set(_ type: String, _ isTrue: Bool, _ reason: String?, _ message: String?, _ now: Moment) {
    guard let place = conditions.firstIndex(where: { $0.type == type }) else {
      conditions.append(PodCondition(type: type, isTrue: isTrue, reason: reason, message: message, since: now.wall))
      return
    }
    if conditions[place].isTrue != isTrue { conditions[place].since = now.wall }
    conditions[place].isTrue = isTrue
    conditions[place].reason = reason
    conditions[place].message = message
  }
}

extension ContainerLifecycle {
  var isWaiting: Bool { if case .waiting = state { true } else { false } }
}

extension StatusSnapshot {
  /// The status as a merge patch: all that this node is the author of, with null where there is nothing.
  ///
  /// - Parameters:
  ///   - addresses: The pod's and the node's address.
  ///   - foreign: The conditions of the object as it was last seen; those of other authors stay, and readiness gates
  ///     are looked up in them.
  ///   - gates: The types of conditions that others must set before the pod counts as ready.
  package func json(
    uid: String, podIP: String?, hostIP: String, foreign: [JSONValue], gates: [String]
  ) -> JSONValue {
    var conditions = self.conditions
    let missing = gates.filter { gate in
      !foreign.contains { $0["type"]?.stringValue == gate && $0["status"]?.stringValue == "True" }
    }
    if !missing.isEmpty, let ready = conditions.firstIndex(where: { $0.type == "Ready" && $0.isTrue }) {
      conditions[ready].isTrue = false
      conditions[ready].reason = "ReadinessGatesNotReady"
      conditions[ready].message = "corresponding condition of pod readiness gate \"\(missing[0])\" is not True"
    }
    let own = Set(conditions.map(\.type))
    let others = foreign.filter { !own.contains($0["type"]?.stringValue ?? "") }
    return [
      "phase": .string(phase), "reason": reason.map { .string($0) } ?? .null,
      "message": message.map { .string($0) } ?? .null, "startTime": .string(startTime.rfc3339),
      "hostIP": .string(hostIP), "podIP": podIP.map { .string($0) } ?? .null,
      "podIPs": podIP.map { [["ip": .string($0)]] } ?? .null,
      "conditions": .array(conditions.map(\.json) + others),
      "initContainerStatuses": .array(containers.filter(\.isInitial).map { $0.json(uid: uid) }),
      "containerStatuses": .array(containers.filter { !$0.isInitial }.map { $0.json(uid: uid) }),
    ]
  }
}

extension PodCondition {
  var json: JSONValue {
    var json: JSONValue = [
      "type": .string(type), "status": .string(isTrue ? "True" : "False"), "lastProbeTime": .null,
      "lastTransitionTime": .string(since.rfc3339),
    ]
    json["reason"] = reason.map { .string($0) }
    json["message"] = message.map { .string($0) }
    return json
  }
}

extension StatusSnapshot.Container {
  /// The identity of a container's run, as `containerID`.
  static func identity(uid: String, name: String, run: Int) -> String { "process://\(uid)/\(name)/\(run)" }

  fileprivate func json(uid: String) -> JSONValue {
    let identity = run > 0 ? Self.identity(uid: uid, name: name, run: run) : ""
    let state: JSONValue
    switch self.state {
    case .waiting(let reason, let message):
      var waiting: JSONValue = ["reason": .string(reason)]
      waiting["message"] = message.map { .string($0) }
      state = ["waiting": waiting]
    case .running(let startedAt): state = ["running": ["startedAt": .string(startedAt.rfc3339)]]
    case .terminated(let end): state = ["terminated": end.json(identity)]
    }
    let before = run > 1 ? Self.identity(uid: uid, name: name, run: run - 1) : ""
    return [
      "name": .string(name), "image": .string(image), "imageID": "", "containerID": .string(identity),
      "ready": .bool(isReady), "started": .bool(isStarted), "restartCount": .int(Int64(restartCount)), "state": state,
      "lastState": lastTermination.map { ["terminated": $0.json(before)] } ?? [:],
    ]
  }
}

extension ContainerTermination {
  func json(_ identity: String) -> JSONValue {
    var json: JSONValue = [
      "exitCode": .int(Int64(exitCode)), "reason": .string(reason), "containerID": .string(identity),
    ]
    if signal != 0 { json["signal"] = .int(Int64(signal)) }
    json["message"] = message.map { .string($0) }
    json["startedAt"] = startedAt.map { .string($0.rfc3339) }
    json["finishedAt"] = finishedAt.map { .string($0.rfc3339) }
    return json
  }

  /// Reads what an earlier life of the node reported; nil when there is none.
  package init?(json: JSONValue?) {
    guard let json, let exitCode = json["exitCode"]?.intValue else { return nil }
    func time(_ key: String) -> Timestamp? { json[key]?.stringValue.flatMap { try? Timestamp(rfc3339: $0) } }
    self.init(
      exitCode: Int32(clamping: exitCode), signal: Int32(clamping: json["signal"]?.intValue ?? 0),
      reason: json["reason"]?.stringValue ?? "", message: json["message"]?.stringValue, startedAt: time("startedAt"),
      finishedAt: time("finishedAt"))
  }
}
