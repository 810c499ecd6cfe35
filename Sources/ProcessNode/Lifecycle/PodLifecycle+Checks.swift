import KubernetesCore

extension PodLifecycle {
  /// Starts the probes that are due and gives up those that take too long.
  mutating func advanceChecks(_ index: Int, _ now: Moment, _ effects: inout [Effect]) {
    for kind in containers[index].activeProbes {
      guard let probe = containers[index].probe(kind), let before = containers[index].probes[kind] else { continue }
      if let id = before.inFlight {
        guard let timeoutAt = before.timeoutAt, now.monotonic >= timeoutAt else { continue }
        effects.append(.cancel(id))
        takeCheck(id, .failure("no answer within \(GoDuration.text(probe.timeout))"), now, &effects)
      }
      // The next one may be due already, and what was given up may have ended the run's probes.
      guard containers[index].activeProbes.contains(kind), var progress = containers[index].probes[kind],
        now.monotonic >= progress.nextAt
      else { continue }
      let id = makeCheckID(index, kind)
      progress.inFlight = id
      progress.timeoutAt = now.monotonic + probe.timeout
      progress.nextAt = now.monotonic + probe.period
      containers[index].probes[kind] = progress
      effects.append(.check(id, probe.action))
    }
  }

  /// Counts a probe's outcome, or goes on after a hook.
  mutating func takeCheck(_ id: CheckID, _ outcome: CheckOutcome, _ now: Moment, _ effects: inout [Effect]) {
    guard containers.indices.contains(id.container) else { return }
    if id.kind == .preStop { return takeHook(id, outcome, now, &effects) }
    guard let probe = containers[id.container].probe(id.kind), var progress = containers[id.container].probes[id.kind],
      progress.inFlight == id
    else { return }
    progress.inFlight = nil
    progress.timeoutAt = nil
    let before = progress.result
    switch outcome {
    case .success:
      progress.successes += 1
      progress.failures = 0
      if progress.successes >= probe.successThreshold { progress.result = true }
    case .failure(let message):
      progress.failures += 1
      progress.successes = 0
      let words = "\(id.kind.word) probe failed: \(message)"
      effects.append(.note(.warning, reason: "Unhealthy", message: "\(containers[id.container].name): \(words)"))
      if progress.failures >= probe.failureThreshold { progress.result = false }
    }
    containers[id.container].probes[id.kind] = progress
    if id.kind == .startup && before != true && progress.result == true { beginOtherProbes(id.container, now) }
    if id.kind != .readiness && progress.result == false && containers[id.container].stop == nil {
      effects.append(
        .note(
          .normal, reason: "Killing",
          message: "Container \(containers[id.container].name) failed its \(id.kind.word.lowercased()) probe, ending it"
        ))
      beginStop(
        id.container, killAt: now.monotonic + (probe.gracePeriod ?? manifest.gracePeriod), hasTurn: true, now, &effects)
    }
  }

  /// The other probes count their initial delay from the container's start, as the kubelet's, but don't begin before.
  private mutating func beginOtherProbes(_ index: Int, _ now: Moment) {
    for kind in [CheckID.Kind.liveness, .readiness] {
      if let at = containers[index].probes[kind]?.nextAt {
        containers[index].probes[kind]?.nextAt = max(at, now.monotonic)
      }
    }
  }

  private mutating func takeHook(_ id: CheckID, _ outcome: CheckOutcome, _ now: Moment, _ effects: inout [Effect]) {
    guard containers[id.container].stop?.hook == id else { return }
    containers[id.container].stop?.hook = nil
    if case .failure(let message) = outcome {
      effects.append(
        .note(
          .warning, reason: "FailedPreStopHook",
          message: "\(containers[id.container].name): PreStopHook failed: \(message)"))
    }
  }
}

extension PodLifecycle.CheckID.Kind {
  /// The kind as events call it.
  var word: String {
    switch self {
    case .startup: "Startup"
    case .liveness: "Liveness"
    case .readiness: "Readiness"
    case .preStop: "PreStop"
    }
  }
}

extension PodLifecycle {
  /// Whether the outcome of a probe or hook is still waited for.
  package func isInFlight(_ id: CheckID) -> Bool {
    guard containers.indices.contains(id.container) else { return false }
    let container = containers[id.container]
    return container.probes[id.kind]?.inFlight == id || container.stop?.hook == id
  }
}
