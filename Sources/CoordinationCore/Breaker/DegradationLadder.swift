/// What a fleet gives up, step by step, when something it needs runs short: first what is least missed.
package enum DegradationRung: Int, Hashable, Sendable, Comparable, CaseIterable {
  /// Nothing.
  case normal
  /// Bulk tasks are turned away.
  case shedBulk
  /// A smaller model, or the batch API, where a task allows it.
  case smallerModel
  /// No new tasks are begun.
  case noNewTasks
  /// The step at work is finished, and no further one begun.
  case finishSteps
  /// Agents write a checkpoint and hand their tasks back.
  case park

  package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
}

/// Why a fleet gives something up.
package enum DegradationCause: Int, Hashable, Sendable, CaseIterable {
  /// The share of the usual API budget that is missing, in percent.
  case budget
  /// Memory in use, in percent of the limit.
  case memory
  /// How long the engine hasn't answered, in seconds.
  case engine
  /// The outbox's fill, in percent.
  case outbox
  /// Dependencies whose breaker is open, in percent of all.
  case breakers
  /// The share of the time for a drain that has passed, in percent; 0 while nobody drains.
  case drain
}

/// Decides on which rung a worker or a fleet stands.
///
/// Up at once, or after a while for causes that come and go; down one rung at a time, each after a time of calm, and only below a mark that
/// is lower than the one that led up. Each move names its cause.
package struct DegradationLadder: Sendable {
  /// Where the rungs are.
  package struct Policy: Hashable, Sendable {
    /// From which value a cause leads to each rung; a rung that isn't named is never its work.
    package var marks: [DegradationCause: [DegradationRung: Int]] = [
      .budget: [.shedBulk: 25, .smallerModel: 60, .noNewTasks: 90],
      .memory: [.shedBulk: 85, .noNewTasks: 90, .finishSteps: 95, .park: 98],
      // A leader's failover takes 4.5 to 7.7 s, and a lease lasts for 30.
      .engine: [.noNewTasks: 2, .finishSteps: 60, .park: 300],
      .outbox: [.noNewTasks: 50, .finishSteps: 80, .park: 95],
      .breakers: [.shedBulk: 25, .smallerModel: 50, .noNewTasks: 100],
      .drain: [.noNewTasks: 1, .finishSteps: 50, .park: 85],
    ]
    /// How far below its mark a cause must fall before its rung is left.
    package var margin: [DegradationCause: Int] = [
      .budget: 10, .memory: 5, .engine: 1, .outbox: 20, .breakers: 10, .drain: 0,
    ]
    /// How long a cause must last before it leads up.
    package var rise: [DegradationCause: Duration] = [.budget: .seconds(5), .breakers: .seconds(5)]
    /// How long each rung is kept after the last cause for it.
    package var calm = Duration.seconds(30)

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// What is measured.
  package enum Event: Hashable, Sendable {
    /// A cause has this value now.
    case measured(DegradationCause, Int)
    /// Time has passed.
    case tick
  }

  /// A move, for metrics, the log and whoever acts by it.
  package struct Effect: Hashable, Sendable {
    /// Where it stood.
    package var from: DegradationRung
    /// Where it stands.
    package var to: DegradationRung
    /// What led up; nil on the way down.
    package var cause: DegradationCause?

    /// Describes a move.
    package init(from: DegradationRung, to: DegradationRung, cause: DegradationCause?) {
      self.from = from
      self.to = to
      self.cause = cause
    }
  }

  /// Where it stands.
  package private(set) var rung = DegradationRung.normal
  /// What holds it there; nil on the lowest rung, and while it is calm.
  package private(set) var cause: DegradationCause?
  private let policy: Policy
  private var values: [DegradationCause: Int] = [:]
  /// Since when a cause has been above the mark of each rung.
  private var above: [DegradationCause: [DegradationRung: Duration]] = [:]
  /// Since when nothing has held it where it stands.
  private var calmSince: Duration?

  /// A fleet that gives nothing up.
  package init(policy: Policy = Policy()) { self.policy = policy }

  /// When time alone may move it next; nil: never.
  package var nextDeadline: Duration? {
    var times: [Duration] = []
    if rung != .normal, let calmSince { times.append(calmSince + policy.calm) }
    for (cause, rungs) in above {
      for (mark, since) in rungs where mark > rung { times.append(since + (policy.rise[cause] ?? .zero)) }
    }
    return times.min()
  }

  /// Takes note of an event; gives the moves in order.
  package mutating func handle(_ event: Event, now: Duration) -> [Effect] {
    if case .measured(let cause, let value) = event { note(cause, value, now) }
    if let effect = rise(now) { return [effect] }
    return fall(now).map { [$0] } ?? []
  }

  private mutating func note(_ cause: DegradationCause, _ value: Int, _ now: Duration) {
    values[cause] = value
    for (mark, threshold) in policy.marks[cause] ?? [:] {
      if value >= threshold {
        if above[cause]?[mark] == nil { above[cause, default: [:]][mark] = now }
      } else {
        above[cause]?[mark] = nil
      }
    }
  }

  private mutating func rise(_ now: Duration) -> Effect? {
    var best: (rung: DegradationRung, cause: DegradationCause)?
    for cause in DegradationCause.allCases {
      for (mark, since) in above[cause] ?? [:] where now - since >= policy.rise[cause] ?? .zero {
        if mark > best?.rung ?? rung { best = (mark, cause) }
      }
    }
    guard let best else { return nil }
    let effect = Effect(from: rung, to: best.rung, cause: best.cause)
    (rung, cause, calmSince) = (best.rung, best.cause, nil)
    return effect
  }

  /// The cause that holds it on a rung: one whose value isn't clearly below the mark of this rung or a higher one.
  private func holder() -> DegradationCause? {
    DegradationCause.allCases.first { cause in
      (policy.marks[cause] ?? [:]).contains { mark, threshold in
        mark >= rung && (values[cause] ?? 0) >= max(1, threshold - (policy.margin[cause] ?? 0))
      }
    }
  }

  private mutating func fall(_ now: Duration) -> Effect? {
    guard rung != .normal else { return nil }
    cause = holder()
    guard cause == nil else {
      calmSince = nil
      return nil
    }
    let since = calmSince ?? now
    calmSince = since
    guard now - since >= policy.calm, let lower = DegradationRung(rawValue: rung.rawValue - 1) else { return nil }
    let effect = Effect(from: rung, to: lower, cause: nil)
    rung = lower
    calmSince = now
    return effect
  }
}
