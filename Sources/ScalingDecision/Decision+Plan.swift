import KubernetesCore

extension Decision {
  /// Turns the goal into a plan: victims, write, hold-off, state.
  mutating func plan(_ spec: DecisionSpec, _ input: DecisionInput, goal: Int, by step: BindingStep, writes: Bool = true)
    -> Plan
  {
    self.goal = goal
    self.step = step
    var selection = VictimSelection.Result(replicas: current)
    // Growth only takes drain orders back, which nobody has where no worker reports.
    if writes, goal < current || census.isReporting {
      selection = VictimSelection(drain: spec.drain, now: input.now)
        .select(
          input.workers, current: current, goal: goal, unseen: input.unseenWorkers, usage: usage(spec, input),
          lastWrite: state.lastWriteAt.map(Timestamp.init(milliseconds:)))
      explain(selection)
    }
    let next = goal > current ? goal : selection.replicas
    let isHeldOff = next != current && holdOff(spec)
    let intended = next == current || isHeldOff || !writes ? nil : next
    if isHeldOff { selection.victims = [] }
    if let intended { noteWrite(spec, input, intended) }
    if spec.isDryRun { reasons.append(.dryRun) }
    return Plan(
      currentReplicas: current, desiredReplicas: goal, write: spec.isDryRun ? nil : intended,
      intendedWrite: intended, victims: selection.victims, orders: spec.isDryRun ? [] : selection.orders,
      proposals: proposals, reasons: reasons, bindingStep: self.step, bounds: minimum...maximum,
      nextDeadline: deadline.map(Timestamp.init(milliseconds:)), state: state, isDryRun: spec.isDryRun,
      contestThreshold: max(spec.limits.contestThreshold, 1))
  }

  /// Each worker's CPU, by which those go that report no work; empty where it isn't measured or isn't needed.
  private func usage(_ spec: DecisionSpec, _ input: DecisionInput) -> [String: Int64] {
    guard goal < current, !census.isReporting, !spec.drain.expectsReports else { return [:] }
    for index in spec.metrics.indices where index < input.readings.count {
      guard case .resource(.cpu) = spec.metrics[index].source, case .workers(let row) = input.readings[index] else {
        continue
      }
      return Dictionary(row.samples.map { ($0.worker, $0.milli) }, uniquingKeysWith: { first, _ in first })
    }
    return [:]
  }

  private mutating func explain(_ selection: VictimSelection.Result) {
    note(deadline: selection.until?.milliseconds)
    if let worker = selection.timedOut { reasons.append(.drainTimedOut(worker: worker)) }
    if let exposure = selection.exposure { reasons.append(.workExposed(exposure)) }
    guard goal < selection.replicas else { return }
    step = .drain
    if let rollout = selection.rollout { reasons.append(.rolloutInProgress(rollout)) }
    if selection.indistinct > 0 { reasons.append(.deletionCostIgnored(workers: selection.indistinct)) }
    reasons.append(.draining(busy: selection.busy, pending: selection.unconfirmed))
    if let shield = selection.shield { reasons.append(.shieldedByNotReady(worker: shield)) }
  }

  /// Whether a contest holds the next write off, which it does for longer after each one.
  private mutating func holdOff(_ spec: DecisionSpec) -> Bool {
    guard !spec.isDryRun, state.contest.changes >= max(spec.limits.contestThreshold, 1) else { return false }
    let window = spec.limits.contestWindow.milliseconds
    let factor = Int64(1) << Int64(min(max(state.contest.ownWrites, 0), 20))
    let backOff = min(spec.limits.contestBackOff.milliseconds.multipliedSaturated(by: factor), window)
    let until = state.lastWriteAt?.addingSaturated(backOff)
    guard let until, until > now, until <= now.addingSaturated(window) else {
      reasons.append(.contested(changes: state.contest.changes, until: nil))
      return false
    }
    reasons.append(.contested(changes: state.contest.changes, until: Timestamp(milliseconds: until)))
    step = .contest
    note(deadline: until)
    return true
  }

  private mutating func noteWrite(_ spec: DecisionSpec, _ input: DecisionInput, _ replicas: Int) {
    noteEvent(spec, replicas - current)
    beginTrial(spec, input, to: replicas)
    state.expectedReplicas = replicas
    state.lastWriteAt = now
    state.isScaledToZero = replicas == 0
    if state.contest.changes >= max(spec.limits.contestThreshold, 1) {
      state.contest.ownWrites = min(max(state.contest.ownWrites, 0), 1_000_000) + 1
    }
  }
}

extension DecisionState {
  /// Takes back what the plan noted about its own write; `before` is what was remembered until then.
  mutating func undoWrite(from replicas: Int, _ before: DecisionState) {
    expectedReplicas = replicas
    // A zero of our own stays one when its first growth fails: else it would look like a zero by hand, for ever.
    isScaledToZero = replicas == 0 && before.isScaledToZero
    if let last = events.events.last, last.at == lastWriteAt { events.events.removeLast() }
    if let trial = gain.trial, trial.at == lastWriteAt { gain.trial = nil }
    if contest.ownWrites > 0 { contest.ownWrites -= 1 }
    // Last, since it marks what the write noted. No sample has to be fresher than a write that wasn't made.
    lastWriteAt = before.lastWriteAt
  }
}
