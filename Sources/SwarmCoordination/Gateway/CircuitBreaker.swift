package import RateBudget

/// Keeps requests away from a model that upstream fails to serve.
///
/// Five failures in a row open it for 60 s; then one probe at a time goes through, and its success closes it. Trouble
/// with rates is none of its business. A pure state machine: time is an argument.
package struct CircuitBreaker: Hashable, Sendable {
  /// When it opens, and for how long.
  package struct Policy: Hashable, Sendable {
    /// Failures in a row that open it.
    package var failures: Int
    /// How long it stays open.
    package var openTime: Duration
    /// How long to wait for a probe's outcome before looking again.
    package var probeInterval: Duration

    /// Makes a policy; without arguments that of the design.
    package init(failures: Int = 5, openTime: Duration = .seconds(60), probeInterval: Duration = .seconds(1)) {
      self.failures = max(1, failures)
      self.openTime = openTime
      self.probeInterval = probeInterval
    }
  }

  /// What a request may do.
  package enum Permit: Hashable, Sendable {
    /// It may be sent.
    case pass
    /// It may be sent and decides what becomes of the others: its outcome must be told.
    case probe
    /// It must wait and ask again.
    case wait(until: BudgetTime)
  }

  private enum State: Hashable, Sendable {
    /// Left when the failures reach the policy's number: open.
    case closed(failures: Int)
    /// Left by time: half open at the first question after it.
    case open(until: BudgetTime)
    /// Left by the probe's outcome: closed or open.
    case halfOpen(isProbing: Bool)
  }

  private var state = State.closed(failures: 0)
  private let policy: Policy

  /// A closed breaker.
  package init(policy: Policy = Policy()) {
    self.policy = policy
  }

  /// Whether everything passes.
  package var isClosed: Bool { if case .closed = state { true } else { false } }
  /// Whether it has nothing to remember.
  var isAtRest: Bool { state == .closed(failures: 0) }

  /// Asks for one request.
  package mutating func permit(now: BudgetTime) -> Permit {
    switch state {
    case .closed: return .pass
    case .open(let until) where now < until: return .wait(until: until)
    case .open, .halfOpen(isProbing: false):
      state = .halfOpen(isProbing: true)
      return .probe
    case .halfOpen(isProbing: true): return .wait(until: now + policy.probeInterval)
    }
  }

  /// Notes an answer that isn't upstream's failure.
  package mutating func succeed() {
    state = .closed(failures: 0)
  }

  /// Notes a failure of upstream. Those of requests that were sent before it opened change nothing more.
  package mutating func fail(_ permit: Permit, now: BudgetTime) {
    switch state {
    case .closed(let failures) where failures + 1 < policy.failures: state = .closed(failures: failures + 1)
    case .closed: state = .open(until: now + policy.openTime)
    case .halfOpen where permit == .probe: state = .open(until: now + policy.openTime)
    case .open, .halfOpen: break
    }
  }

  /// Notes that a request with a permit was never sent, or that its outcome says nothing.
  package mutating func abandon(_ permit: Permit) {
    if permit == .probe, state == .halfOpen(isProbing: true) { state = .halfOpen(isProbing: false) }
  }
}
