import KubernetesCore

/// The decision: from what is asked, remembered and observed to a plan. Pure, exact, and total over all inputs.
///
/// The steps stand in the order of the design; docs/decision.md explains each with a worked example.
package enum ScalingDecision {
  /// Decides once.
  ///
  /// The caller keeps `plan.state` when the plan's write succeeded or there was none, and `plan.stateIfWriteFails(after:)`
  /// after a failed one; after a conflict it observes again and decides again with the old state.
  package static func decide(_ spec: DecisionSpec, _ state: DecisionState, _ input: DecisionInput) -> Plan {
    var decision = Decision(spec, state, input)
    decision.noticeForeignChange(spec, input)
    if decision.isSwitchedOff(spec, input) {
      return decision.plan(spec, input, goal: decision.current, by: .disabled, writes: false)
    }
    if let (goal, step) = decision.goalWithoutMetrics(spec) { return decision.plan(spec, input, goal: goal, by: step) }
    decision.readMetrics(spec, input)
    decision.combineDemands()
    decision.applyCeilings(spec, input)
    decision.keepWorkInFlight()
    decision.stabilize()
    decision.awaitFreshSamples(spec, input)
    decision.limitRate(spec)
    decision.clampAndPause(spec)
    return decision.plan(spec, input, goal: decision.goal, by: decision.step)
  }
}

/// One decision in the making.
struct Decision {
  let now: Milliseconds
  /// The present count.
  let current: Int
  let minimum: Int
  let maximum: Int
  /// The windows of `spec.behavior`.
  let growthWindow: Milliseconds
  let shrinkWindow: Milliseconds
  /// What there is to know about the workers as a whole.
  let census: WorkerCensus

  var state: DecisionState
  var proposals: [Proposal] = []
  var reasons: [Reason] = []
  /// The count so far.
  var goal: Int
  /// The step that set it last.
  var step: BindingStep = .demand
  /// The earliest moment at which something that holds the count ends.
  var deadline: Milliseconds?
  /// Work in flight that backlogs report, in workers.
  var backlogWorkers = 0

  init(_ spec: DecisionSpec, _ state: DecisionState, _ input: DecisionInput) {
    self.state = state
    now = input.now.milliseconds
    current = saneReplicas(input.specReplicas)
    maximum = saneReplicas(spec.maxReplicas)
    minimum = min(saneReplicas(spec.minReplicas), maximum)
    growthWindow = spec.behavior.scaleUp.stabilizationWindow.milliseconds
    shrinkWindow = spec.behavior.scaleDown.stabilizationWindow.milliseconds
    census = WorkerCensus(input.table.workers, now: now, threshold: spec.limits.capacityPendingThreshold)
    goal = current
  }

  /// Notes a moment at which the decision may change without new numbers.
  mutating func note(deadline candidate: Milliseconds?) {
    guard let candidate, candidate > now else { return }
    deadline = min(deadline ?? candidate, candidate)
  }
}

// MARK: - Before the metrics

extension Decision {
  /// Compares the count with the one that was left behind; another writer's change is an event for rate policies too.
  mutating func noticeForeignChange(_ spec: DecisionSpec, _ input: DecisionInput) {
    if current > 0 { state.isScaledToZero = false }
    // Also where nothing changes: after a clock that stepped back, a change from the future would use up its policy for long.
    state.events.forget(until: now.subtractingSaturated(longestPeriod(spec)), now: now)
    forgetOldContest(spec)
    guard let expected = state.expectedReplicas else {
      // A new object: the present size counts as a proposal, so that a shrink waits a whole window.
      noteProposal(current)
      state.expectedReplicas = current
      return
    }
    guard expected != current else { return }
    state.expectedReplicas = current
    if spec.isDryRun, let last = state.events.events.last, last.at == state.lastWriteAt,
      current == expected.subtractingSaturated(last.change)
    {
      // A dry run noted a write that nobody made.
      state.events.events.removeLast()
      return
    }
    reasons.append(.foreignChange(from: expected, to: current))
    noteEvent(spec, current.subtractingSaturated(expected))
    guard !spec.isDryRun else { return }
    state.contest.changes = min(state.contest.changes.addingSaturated(1), 1_000_000)
    state.contest.lastChangeAt = now
    state.contest.manager = input.foreignWriter.map { String($0.manager.prefix(ContestMemory.longestName)) }
  }

  private mutating func forgetOldContest(_ spec: DecisionSpec) {
    guard let last = state.contest.lastChangeAt else { return }
    let age = now.subtractingSaturated(last)
    if age >= spec.limits.contestWindow.milliseconds || age < 0 { state.contest = ContestMemory() }
  }

  /// Whether somebody has switched this autoscaler off: a rival, a zero by hand, an annotation.
  mutating func isSwitchedOff(_ spec: DecisionSpec, _ input: DecisionInput) -> Bool {
    if let rival = input.olderRival {
      reasons.append(.olderRival(name: rival))
      return true
    }
    if spec.pause.all {
      reasons.append(.paused)
      return true
    }
    if current == 0, !state.isScaledToZero, spec.pause.replicas == nil {
      reasons.append(.scaledToZeroByHand)
      return true
    }
    return false
  }

  /// The count that an annotation or the bounds ask for, without a look at any metric.
  mutating func goalWithoutMetrics(_ spec: DecisionSpec) -> (goal: Int, step: BindingStep)? {
    if let replicas = spec.pause.replicas {
      reasons.append(.pausedAt(replicas: saneReplicas(replicas)))
      return (saneReplicas(replicas), .pause)
    }
    if current < minimum {
      reasons.append(.belowMinimum(minimum: minimum))
      if spec.pause.scaleUp {
        reasons.append(.growthPaused(wanted: minimum))
        return (current, .pause)
      }
      return (minimum, .bounds)
    }
    if current > maximum {
      reasons.append(.aboveMaximum(maximum: maximum))
      if spec.pause.scaleDown {
        reasons.append(.shrinkPaused(wanted: maximum))
        return (current, .pause)
      }
      return (maximum, .bounds)
    }
    return nil
  }

  /// Notes a raw proposal for both windows.
  mutating func noteProposal(_ replicas: Int) {
    state.growthWindow.noteForSmallest(replicas, at: now, window: growthWindow)
    state.shrinkWindow.noteForLargest(replicas, at: now, window: shrinkWindow)
  }

  /// Notes a change of the count, for as long as a policy, or the ramp of a minute, looks back.
  mutating func noteEvent(_ spec: DecisionSpec, _ change: Int) {
    state.events.note(change, at: now, forgettingUntil: now.subtractingSaturated(longestPeriod(spec)))
  }

  private func longestPeriod(_ spec: DecisionSpec) -> Milliseconds {
    var longest: Milliseconds = 60_000
    for policy in spec.behavior.scaleUp.policies { longest = max(longest, policy.period.milliseconds) }
    for policy in spec.behavior.scaleDown.policies { longest = max(longest, policy.period.milliseconds) }
    return longest
  }
}

// MARK: - Combine, hold, limit

extension Decision {
  /// What the demands ask for together.
  private struct Demands {
    /// The largest count, and the metric that asks for it; the first of several.
    var largest: (replicas: Int, metric: Int)?
    /// Whether one of them is unknown.
    var isUnknown = false
    /// Whether one of them is known, be it a schedule outside its hours.
    var isKnown = false

    init(_ proposals: [Proposal]) {
      for index in proposals.indices {
        switch proposals[index].outcome {
        case .wants(let replicas):
          isKnown = true
          if largest.map({ replicas > $0.replicas }) ?? true { largest = (replicas, index) }
        case .unknown:
          if case .apiRate = proposals[index].source { continue }
          isUnknown = true
        case .silent:
          // A schedule outside its hours asks for nothing; a default metric that nobody reports isn't there at all.
          if case .schedule = proposals[index].source { isKnown = true }
        case .allows, .unbounded:
          break
        }
      }
    }
  }

  /// The largest demand; unknown ones never let it shrink.
  mutating func combineDemands() {
    let demands = Demands(proposals)
    if let largest = demands.largest {
      goal = largest.replicas
      reasons.append(.demand(metric: largest.metric, replicas: largest.replicas))
    } else if demands.isKnown, !demands.isUnknown {
      // Only schedules, all outside their hours: nothing asks for more than the minimum.
      goal = 0
    } else if !demands.isUnknown {
      reasons.append(.noMetrics)
      goal = current
    } else {
      goal = current
      step = .unknownMetric
    }
    if demands.isUnknown, goal < current {
      goal = current
      step = .unknownMetric
    }
    let waiting = census.waitingForAPI
    if waiting > 0, goal < min(waiting, current) {
      goal = min(waiting, current)
      step = .workInFlight
      reasons.append(.waitingForAPI(workers: waiting))
    }
  }

  /// The smallest ceiling; unknown ones never let the count grow.
  mutating func applyCeilings(_ spec: DecisionSpec, _ input: DecisionInput) {
    for index in proposals.indices {
      switch proposals[index].outcome {
      case .allows(let replicas) where goal > replicas:
        goal = replicas
        step = .ceiling
        reasons.append(.ceiling(metric: index, replicas: replicas))
      case .unknown where goal > current && proposals[index].role == .ceiling:
        goal = current
        step = .unknownMetric
      default:
        break
      }
    }
    applyGain(spec, input)
    applyCapacity()
  }

  /// No growth into a cluster that has had no room for a while.
  private mutating func applyCapacity() {
    note(deadline: census.nextUnplacedAt)
    guard census.unplaced > 0 else { return }
    reasons.append(.missingCapacity(unplaced: census.unplaced))
    if goal > current {
      goal = current
      step = .capacity
    }
  }

  /// Where no worker reports its own work, the reported work in flight holds the count.
  ///
  /// Where workers do report, `VictimSelection` keeps the busy ones, and the goal may go lower: they are told to drain.
  mutating func keepWorkInFlight() {
    let needed = min(backlogWorkers, current)
    guard goal < needed, !census.isReporting else { return }
    goal = needed
    step = .workInFlight
    reasons.append(.workInFlight(workers: backlogWorkers))
  }

  /// Stabilises the raw proposal over both windows; growth from zero isn't held.
  mutating func stabilize() {
    noteProposal(goal)
    guard current > 0 else { return }
    let result = StabilizationWindow.stabilize(
      current: current, proposed: goal, growth: state.growthWindow, shrink: state.shrinkWindow, now: now,
      growthWindow: growthWindow, shrinkWindow: shrinkWindow)
    guard result.replicas != goal else { return }
    // What the bounds will cut anyway isn't worth a word.
    if clamped(goal) != clamped(result.replicas) {
      note(deadline: result.until)
      reasons.append(
        .stabilized(
          proposed: goal, held: result.replicas, until: result.until.map(Timestamp.init(milliseconds:))))
      step = .stabilization
    }
    goal = result.replicas
  }

  func clamped(_ replicas: Int) -> Int { min(max(replicas, minimum), maximum) }

  /// Limits the change within the policies' periods; growth from zero isn't limited.
  mutating func limitRate(_ spec: DecisionSpec) {
    let proposed = clamped(goal)
    guard current > 0, proposed != current else { return }
    let isGrowth = proposed > current
    let rules = isGrowth ? spec.behavior.scaleUp : spec.behavior.scaleDown
    guard
      let limit = isGrowth
        ? RatePolicies.growthLimit(rules, current: current, events: state.events, now: now)
        : RatePolicies.shrinkLimit(rules, current: current, events: state.events, now: now)
    else { return }
    // A limit never turns the direction round.
    let bound = isGrowth ? max(limit.replicas, current) : min(max(limit.replicas, 0), current)
    guard isGrowth ? proposed > bound : proposed < bound else { return }
    note(deadline: limit.until)
    reasons.append(
      .rateLimited(proposed: proposed, limit: bound, until: limit.until.map(Timestamp.init(milliseconds:))))
    goal = bound
    step = .ratePolicy
  }

  /// The bounds, and what annotations hold back in one direction.
  mutating func clampAndPause(_ spec: DecisionSpec) {
    if goal < minimum {
      reasons.append(.atMinimum(minimum: minimum))
      goal = minimum
      step = .minimum
    } else if goal > maximum {
      reasons.append(.atMaximum(maximum: maximum))
      goal = maximum
      step = .maximum
    }
    if goal > current, spec.pause.scaleUp {
      reasons.append(.growthPaused(wanted: goal))
      goal = current
      step = .pause
    } else if goal < current, spec.pause.scaleDown {
      reasons.append(.shrinkPaused(wanted: goal))
      goal = current
      step = .pause
    }
  }
}
