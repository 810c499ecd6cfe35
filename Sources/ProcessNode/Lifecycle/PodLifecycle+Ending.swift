import KubernetesCore

// As the kubelet does it: preStop hooks begin at once for all containers, inside the grace period; app containers get SIGTERM
// after theirs; sidecars get it one by one, the last started first, when nobody before them runs any more. At the end of the
// grace period all that still run get SIGKILL, those that were only just asked 2 s later.
extension PodLifecycle {
  /// Begins to end the pod, or hurries an end that has begun.
  mutating func beginEnding(_ cause: EndCause, grace: Duration, _ now: Moment, _ effects: inout [Effect]) {
    let deadline = now.monotonic + max(.zero, grace)
    guard var ending else {
      self.ending = Ending(cause: cause, deadline: deadline)
      for check in containers.indices.flatMap({ containers[$0].stop == nil ? containers[$0].endChecks() : [] })
      where check.kind != .readiness {
        containers[check.container].probes[check.kind]?.inFlight = nil
        containers[check.container].probes[check.kind]?.timeoutAt = nil
        effects.append(.cancel(check))
      }
      return
    }
    // A deletion is no reason to call a completed pod deleted, nor may a second wish lengthen the first one's time.
    if cause != .deleted || ending.cause == .deleted || hasFinished { return hurry(&ending, deadline) }
    if ending.cause == .completed && containers.contains(where: \.isActive) { ending.cause = .deleted }
    hurry(&ending, deadline)
  }

  private mutating func hurry(_ ending: inout Ending, _ deadline: MonotonicTime) {
    ending.deadline = min(ending.deadline, deadline)
    self.ending = ending
    for index in containers.indices where containers[index].stop?.isKilled == false {
      let killAt = containers[index].stop?.killAt ?? deadline
      containers[index].stop?.killAt = min(killAt, max(deadline, ending.deadline))
    }
  }

  mutating func advanceEnding(_ now: Moment, _ effects: inout [Effect]) {
    guard let ending else { return }
    if case .underWay = preparation, containers.allSatisfy({ !$0.isActive }) { preparation = .unasked }
    for index in containers.indices where containers[index].isRunning && containers[index].stop == nil {
      if containers[index].role != .sidecar || ending.cause != .completed {
        effects.append(.note(.normal, reason: "Killing", message: "Stopping container \(containers[index].name)"))
      }
      beginStop(index, killAt: ending.deadline, hasTurn: containers[index].role != .sidecar, now, &effects)
    }
    // A sidecar's turn comes when no app or init container runs, and no sidecar that started after it.
    if containers.contains(where: { $0.role != .sidecar && $0.isActive }) { return }
    guard let last = containers.lastIndex(where: { $0.role == .sidecar && $0.isActive }) else { return }
    containers[last].stop?.hasTurn = true
  }

  /// Begins to end one run.
  mutating func beginStop(
    _ index: Int, killAt: MonotonicTime, hasTurn: Bool, _ now: Moment, _ effects: inout [Effect]
  ) {
    guard containers[index].isRunning, containers[index].stop == nil else { return }
    var stop = ContainerLifecycle.Stop(
      killAt: killAt, hasTurn: hasTurn, isImmediate: killAt <= now.monotonic)
    if let hook = containers[index].manifest.preStop, killAt > now.monotonic {
      let id = makeCheckID(index, .preStop)
      stop.hook = id
      effects.append(.check(id, hook))
    }
    containers[index].stop = stop
  }

  /// Carries a run's end on: SIGTERM when its hook is over and its turn has come, SIGKILL when its time is over.
  mutating func advanceStop(_ index: Int, _ now: Moment, _ effects: inout [Effect]) {
    guard var stop = containers[index].stop, containers[index].isRunning, !stop.isKilled else { return }
    let run = containers[index].run
    let isLate = now.monotonic >= stop.killAt
    if isLate, let hook = stop.hook {
      stop.hook = nil
      effects.append(.cancel(hook))
      let name = containers[index].name
      effects.append(
        .note(
          .warning, reason: "FailedPreStopHook", message: "\(name): PreStopHook was cut off by the grace period's end"))
    }
    if isLate { stop.hasTurn = true }
    if !stop.isTerminated, stop.hook == nil, stop.hasTurn {
      stop.isTerminated = true
      // Without any grace there is nothing to wait for.
      if !stop.isImmediate {
        effects.append(.terminate(index, run: run))
        stop.killAt = max(stop.killAt, now.monotonic + Limits.leastGrace)
        containers[index].stop = stop
        return
      }
    }
    if isLate {
      stop.isKilled = true
      effects.append(.kill(index, run: run))
    }
    containers[index].stop = stop
  }
}
