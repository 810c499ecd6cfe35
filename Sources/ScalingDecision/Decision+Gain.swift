import KubernetesCore

// Growth is worth its money only if more work gets done. Where workers report completed work, growth is a trial:
// once it has settled, the rate of completion must have risen by at least a tenth of what proportional growth promises.
// Without that the count goes back, and growth isn't tried again for a back-off time.

extension Decision {
  /// The fewest completions that make a rate; fewer are chance.
  private static let leastCompletions: Int64 = 20

  /// Judges growth that is being watched, and holds the count at what growth without gain was taken back to.
  mutating func applyGain(_ spec: DecisionSpec, _ input: DecisionInput) {
    watchCompletedWork(spec, input)
    guard let remembered = state.gain.ceiling, let until = state.gain.ceilingUntil else { return }
    let ceiling = saneReplicas(remembered)
    if now >= until || until > now.addingSaturated(spec.limits.gainBackOff.milliseconds.multipliedSaturated(by: 8)) {
      state.gain.ceiling = nil
      state.gain.ceilingUntil = nil
      return
    }
    guard goal > ceiling else { return }
    goal = ceiling
    step = .marginalGain
    note(deadline: until)
    reasons.append(.noGain(replicas: ceiling, until: Timestamp(milliseconds: until)))
  }

  private mutating func watchCompletedWork(_ spec: DecisionSpec, _ input: DecisionInput) {
    guard let completed = input.completedWork, completed >= 0 else {
      if state.gain.completed != nil || state.gain.trial != nil {
        state.gain.completed = nil
        state.gain.completedAt = nil
        state.gain.trial = nil
      }
      return
    }
    // A counter that fell has begun anew, and a clock may have stepped back: what was noted before can't be compared.
    let least = state.gain.trial?.completedAtStart ?? state.gain.completed
    guard let least, let lastAt = state.gain.completedAt, completed >= least, now >= lastAt else {
      state.gain.completed = completed
      state.gain.completedAt = now
      state.gain.trial = nil
      return
    }
    guard var trial = state.gain.trial else { return }
    let settling = settling(spec, input, trial)
    guard current >= trial.to else {
      // The fleet shrank before anything could be seen.
      startAnew(completed)
      return
    }
    if let start = trial.completedAtStart, let startedAt = trial.startedAt {
      guard now.subtractingSaturated(startedAt) >= max(settling, 1) else {
        note(deadline: startedAt.addingSaturated(settling))
        return
      }
      judge(
        spec, trial, rate: Self.rate(completed.subtractingSaturated(start), over: now.subtractingSaturated(startedAt)))
      startAnew(completed)
    } else if now.subtractingSaturated(trial.at) >= settling {
      trial.completedAtStart = completed
      trial.startedAt = now
      state.gain.trial = trial
    } else {
      note(deadline: trial.at.addingSaturated(settling))
    }
  }

  /// How long growth has to show a gain: twice the time that a piece of work takes, where that is longer than the limit. New
  /// workers finish nothing before their first piece is done, and half-hour tasks would never show a gain within minutes.
  private func settling(_ spec: DecisionSpec, _ input: DecisionInput, _ trial: GainMemory.Trial) -> Milliseconds {
    var slots = 1
    for worker in input.workers { slots = max(slots, min(worker.activity?.slots ?? 1, 10_000)) }
    // By Little's law: pieces in hand over pieces an hour.
    let length = Int128(saneReplicas(trial.from)) * Int128(slots) * 3_600_000_000 / Int128(max(trial.rateBefore, 1))
    return max(spec.limits.gainSettling.milliseconds, Int64(clamping: min(2 * length, 86_400_000)))
  }

  private mutating func startAnew(_ completed: Int64) {
    state.gain.trial = nil
    state.gain.completed = completed
    state.gain.completedAt = now
  }

  private mutating func judge(_ spec: DecisionSpec, _ trial: GainMemory.Trial, rate: Int64) {
    let gained = Int128(rate) - Int128(trial.rateBefore)
    let from = saneReplicas(trial.from)
    let promised = Int128(trial.rateBefore) * Int128(saneReplicas(trial.to) - from)
    guard gained * Int128(from) * 10 < promised, goal >= trial.to else {
      state.gain.failedTrials = 0
      return
    }
    let doublings = min(max(state.gain.failedTrials, 0), 3)
    let backOff = spec.limits.gainBackOff.milliseconds.multipliedSaturated(by: 1 << Int64(doublings))
    state.gain.failedTrials = min(doublings + 1, 3)
    state.gain.ceiling = trial.from
    state.gain.ceilingUntil = now.addingSaturated(backOff)
  }

  /// Completions per hour in thousandths.
  private static func rate(_ completions: Int64, over milliseconds: Milliseconds) -> Int64 {
    Int64(clamping: Int128(completions) * 3_600_000_000 / Int128(max(milliseconds, 1)))
  }

  /// Begins to watch a growth that is being written, or ends the watch of a shrink.
  mutating func beginTrial(_ spec: DecisionSpec, _ input: DecisionInput, to replicas: Int) {
    guard let completed = input.completedWork, let last = state.gain.completed, let lastAt = state.gain.completedAt
    else { return }
    if replicas > current, var trial = state.gain.trial {
      // Growth upon growth is one trial; it settles anew.
      trial.to = replicas
      trial.at = now
      trial.completedAtStart = nil
      trial.startedAt = nil
      state.gain.trial = trial
      return
    }
    let completions = completed.subtractingSaturated(last)
    let time = now.subtractingSaturated(lastAt)
    if replicas > current, current > 0, completions >= Self.leastCompletions,
      time >= spec.limits.gainSettling.milliseconds
    {
      state.gain.trial = GainMemory.Trial(
        from: current, to: replicas, at: now, rateBefore: Self.rate(completions, over: time),
        completedAtStart: nil, startedAt: nil)
    } else {
      startAnew(completed)
    }
  }
}
