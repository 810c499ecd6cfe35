/// Keeps work away from something that fails: a dependency (an endpoint, a model, a class of failure), or a pool of agents (`PoolBreaker`).
///
/// Five failures in a row open it, or every second of twenty calls and more within 30 s. It stays open for 54 to 60 s; then one probe at a
/// time goes through, and two of them that succeed close it. A probe that fails opens it again for as long: whoever counts failures counts
/// outages (5xx, 529, timeouts, broken connections), and what was repaired must be in use again 60 s and two calls later. Growing pauses would save a call a
/// minute and cost up to ten minutes of work; that a fleet doesn't probe as a herd is the work of chance and of `mayProbe`. Where failures are no
/// outages `Policy.longestOpenTime` lets the pauses double.
/// Trouble with rates is none of its business: who answers 429 is there. A pure state machine: time is an argument, and so is chance.
package struct CircuitBreaker: Hashable, Sendable {
  /// When it opens, and for how long.
  package struct Policy: Hashable, Sendable {
    /// Failures in a row that open it.
    package var failures: Int
    /// How far back calls are counted.
    package var window = Duration.seconds(30)
    /// Calls within the window below which their share of failures says nothing.
    package var windowCalls = 20
    /// The percentage of failed calls within the window that opens it.
    package var windowFailurePercent = 50
    /// How long it stays open at most for the first time.
    package var openTime: Duration
    /// How long it stays open at most when probes fail again and again, each time twice as long as the time before; `openTime` unless it is longer: an
    /// outage is looked at once a minute however long it lasts.
    package var longestOpenTime = Duration.zero
    /// How far chance shortens these times, in percent of them: a hundred pods must not probe at the same moment, and none may probe later.
    package var jitterPercent = 10
    /// Probes in a row whose success closes it.
    package var successes = 2
    /// How long to wait for a probe's outcome before looking again.
    package var probeInterval: Duration
    /// After how long a probe is given up whose outcome nobody tells, so that another one can be sent.
    package var longestProbe = Duration.seconds(600)

    /// Makes a policy; without arguments that of the design.
    package init(failures: Int = 5, openTime: Duration = .seconds(60), probeInterval: Duration = .seconds(1)) {
      self.failures = max(1, failures)
      self.openTime = openTime
      self.probeInterval = probeInterval
    }
  }

  /// What a call may do.
  package enum Permit: Hashable, Sendable {
    /// It may be made.
    case pass
    /// It may be made and decides what becomes of the others: its outcome must be told.
    case probe
    /// It must wait and ask again.
    case wait(until: Duration)
  }

  /// What became of a call.
  package enum Outcome: Hashable, Sendable {
    /// An answer that isn't the dependency's failure: success, and what the caller did wrong (4xx).
    case success
    /// 5xx, 529, a timeout, a connection that broke.
    case failure
    /// 429: the dependency is well, and says when to come again. Neither a failure nor a call to count.
    case backPressure
    /// It wasn't made, or its outcome says nothing.
    case unknown
  }

  /// What happens to a breaker.
  package enum Event: Hashable, Sendable {
    /// A call ended. `jitter` chooses by how much an opening's time is shortened: 0 the most, `UInt32.max` not at all.
    case ended(Permit, Outcome, jitter: UInt32)
    /// Somebody else has found out: it opens whatever it has counted itself.
    case tripped(jitter: UInt32)
  }

  /// What changed, for metrics and for others to hear as a hint.
  package enum Effect: Hashable, Sendable {
    /// It keeps calls away until then.
    case opened(until: Duration)
    /// It is well again.
    case closed
  }

  private enum State: Hashable, Sendable {
    /// Left by failures: open.
    case closed
    /// Left by time: half open at the first question after it.
    case open(until: Duration)
    /// Left by the probes' outcomes: closed or open. `probe` is when the one under way was allowed.
    case halfOpen(probe: Duration?, successes: Int)
  }

  private var state = State.closed
  private var failures = 0
  private var window: CallWindow
  /// How often it has opened since it was closed.
  private var openings = 0
  private let policy: Policy

  /// A closed breaker.
  package init(policy: Policy = Policy()) {
    self.policy = policy
    window = CallWindow(length: policy.window)
  }

  /// Whether everything passes.
  package var isClosed: Bool { state == .closed }
  /// Whether it has nothing to remember.
  package var isAtRest: Bool { state == .closed && failures == 0 && window.failures == 0 }

  /// Asks for one call. `mayProbe` is whether this process may send the probe, where a fleet shares one.
  package mutating func permit(now: Duration, mayProbe: Bool = true) -> Permit {
    switch state {
    case .closed: return .pass
    case .open(let until) where now < until: return .wait(until: until)
    case .open:
      guard mayProbe else { return .wait(until: now + policy.probeInterval) }
      state = .halfOpen(probe: now, successes: 0)
      return .probe
    case .halfOpen(let probe, let successes):
      if let probe, now - probe < policy.longestProbe { return .wait(until: now + policy.probeInterval) }
      guard mayProbe else { return .wait(until: now + policy.probeInterval) }
      state = .halfOpen(probe: now, successes: successes)
      return .probe
    }
  }

  /// Takes note of an event.
  package mutating func handle(_ event: Event, now: Duration) -> [Effect] {
    switch event {
    case .tripped(let jitter):
      if case .open = state { return [] }
      return open(jitter, now)
    case .ended(let permit, let outcome, let jitter):
      switch state {
      case .closed: return count(outcome, jitter, now)
      // Calls that were sent before it opened say nothing new.
      case .open: return []
      case .halfOpen(let probe, let successes):
        guard permit == .probe, probe != nil else { return [] }
        return decide(outcome, successes, jitter, now)
      }
    }
  }

  private mutating func count(_ outcome: Outcome, _ jitter: UInt32, _ now: Duration) -> [Effect] {
    switch outcome {
    case .unknown: return []
    case .backPressure:
      failures = 0
      return []
    case .success:
      failures = 0
      window.add(isFailure: false, now: now)
      return []
    case .failure:
      failures += 1
      window.add(isFailure: true, now: now)
      let isTooMany =
        window.calls >= policy.windowCalls
        && 100 * window.failures >= policy.windowFailurePercent * window.calls
      return failures >= policy.failures || isTooMany ? open(jitter, now) : []
    }
  }

  private mutating func decide(
    _ outcome: Outcome, _ successes: Int, _ jitter: UInt32, _ now: Duration
  ) -> [Effect] {
    switch outcome {
    case .failure: return open(jitter, now)
    case .unknown:
      state = .halfOpen(probe: nil, successes: successes)
      return []
    case .success, .backPressure:
      guard successes + 1 >= policy.successes else {
        state = .halfOpen(probe: nil, successes: successes + 1)
        return []
      }
      self = CircuitBreaker(policy: policy)
      return [.closed]
    }
  }

  private mutating func open(_ jitter: UInt32, _ now: Duration) -> [Effect] {
    var length = policy.openTime
    for _ in 0..<openings where length < policy.longestOpenTime { length = length * 2 }
    length = min(length, max(policy.longestOpenTime, policy.openTime))
    let percent = Int64(policy.jitterPercent)
    // From 100 - percent to 100 hundredths, in steps of a millionth.
    let millionths = (100 - percent) * 10_000 + percent * 10_000 * Int64(jitter) / Int64(UInt32.max)
    let until = now + length * millionths / 1_000_000
    openings += 1
    failures = 0
    window = CallWindow(length: policy.window)
    state = .open(until: until)
    return [.opened(until: until)]
  }
}

/// Calls and failures of the last while, in ten parts of it.
struct CallWindow: Hashable, Sendable {
  private static let parts: Int64 = 10
  private let width: Duration
  private var newest: Int64 = 0
  private var callCounts = [Int](repeating: 0, count: Int(parts))
  private var failureCounts = [Int](repeating: 0, count: Int(parts))

  init(length: Duration) { width = max(length / Self.parts, .nanoseconds(1)) }

  /// The calls of the window, as of the last one.
  var calls: Int { callCounts.reduce(0, +) }
  /// Those of them that failed.
  var failures: Int { failureCounts.reduce(0, +) }

  mutating func add(isFailure: Bool, now: Duration) {
    let part = now.wholeParts(of: width)
    if part > newest {
      for old in max(newest + 1, part - Self.parts + 1)...part {
        callCounts[Int(old % Self.parts)] = 0
        failureCounts[Int(old % Self.parts)] = 0
      }
      newest = part
    }
    callCounts[Int(newest % Self.parts)] += 1
    if isFailure { failureCounts[Int(newest % Self.parts)] += 1 }
  }
}

extension Duration {
  /// How often `part` fits into this time; 0 for negative times. Exact for times up to 292 years.
  func wholeParts(of part: Duration) -> Int64 {
    let own = wholeNanoseconds
    let other = max(1, part.wholeNanoseconds)
    return max(0, own / other)
  }

  /// The whole nanoseconds, within what 64 bits hold.
  var wholeNanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return seconds < 0 ? .min : .max }
    let (sum, overflowed) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
    return overflowed ? (seconds < 0 ? .min : .max) : sum
  }
}
