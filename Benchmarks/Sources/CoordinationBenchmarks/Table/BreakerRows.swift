import CoordinationCore

/// A dependency that fails for a while, before agents that call it all the time (24): what still reaches it, and when all is well again. Virtual time.
struct BreakerRows: PromiseSource {
  var promises: [Int] { [24] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    var random = Seeded(state: context.seed)
    var outages: [BreakerWorld.Outcome] = []
    for _ in 0..<(context.isQuick ? 20 : 500) {
      // In milliseconds: from shorter than one opening to a quarter of an hour.
      var world = BreakerWorld(
        outage: 5_000 + random.below(900_000), agents: 1 + random.below(200), seed: random.next())
      outages.append(world.run())
    }
    let leaked = outages.map { $0.leaked - $0.inFlight }.max() ?? 0
    let probes = outages.map(\.probesAtOnce).max() ?? 0
    let recovery = outages.map { Double($0.recovery) / 1_000 }
    let worst = recovery.max() ?? .infinity
    let promise = Promise.all[23]
    let isKept = leaked <= 5 && probes == 1
    var row = ReportRow(
      id: "24", what: "\(promise.definition): \(outages.count) outages of 5–905 s, 1–200 agents (virtual time)",
      baseline: "\(promise.baseline): \(median(outages.map { Double($0.unguarded) }).text(0)) failed calls (median)",
      seed: promise.seed, target: promise.target,
      measured: "\(leaked) failed calls at most besides those in flight at the trip, \(probes) probe at once, "
        + "\(median(outages.map { Double($0.probes) }).text(0)) probes an outage (median); "
        + "closed \(median(recovery).text(1)) s after the repair (median), \(worst.text(1)) s at most",
      verdict: Verdict(seed: isKept, target: isKept && worst <= 61))
    row.figures = ["leaked": Double(leaked), "probes_at_once": Double(probes), "recovery_seconds_most": worst]
    report.add(row)
  }
}

/// Agents that call one dependency through one breaker, millisecond by millisecond.
private struct BreakerWorld {
  struct Outcome {
    /// Failed calls that were no probes, from the first failure on.
    var leaked = 0
    /// Of those, the ones under way when it opened.
    var inFlight = 0
    var probes = 0
    var probesAtOnce = 0
    /// From the repair until it is closed.
    var recovery = Int.max
    /// Calls that would have failed without a breaker.
    var unguarded = 0
  }

  private struct Call {
    var end: Int
    var permit: CircuitBreaker.Permit
    /// An outage breaks what is under way when it begins, too.
    var fails: Bool
  }

  let outage: Int
  let agents: Int
  var random: Seeded
  private var breaker = CircuitBreaker()
  private var outcome = Outcome()

  init(outage: Int, agents: Int, seed: UInt64) {
    (self.outage, self.agents, random) = (outage, agents, Seeded(state: seed))
  }

  mutating func run() -> Outcome {
    let begin = 10_000
    let repair = begin + outage
    var calls: [Call] = []
    /// When each agent asks next: it asks each second, and a call takes 100 to 300 ms.
    var next = (0..<agents).map { _ in random.below(1_000) }
    var hasTripped = false
    for now in 0..<(repair + 120_000) {
      for (number, call) in calls.enumerated() where call.end == now {
        let jitter = UInt32(truncatingIfNeeded: random.next())
        let effects = breaker.handle(
          .ended(call.permit, call.fails ? .failure : .success, jitter: jitter), now: .milliseconds(now))
        if call.fails, call.permit == .pass { outcome.leaked += 1 }
        if !hasTripped, effects.contains(where: { if case .opened = $0 { true } else { false } }) {
          hasTripped = true
          // Those that end at the same moment and come later are under way as well.
          outcome.inFlight = calls.enumerated().count {
            $1.fails && ($1.end > now || $1.end == now && $0 > number)
          }
        }
        if now >= repair, effects.contains(.closed) { outcome.recovery = now - repair }
      }
      calls.removeAll { $0.end <= now }
      // Too short an outage to be noticed, or all is well again.
      if now >= repair, breaker.isClosed, calls.allSatisfy({ !$0.fails }) {
        if outcome.recovery == .max { outcome.recovery = 0 }
        return outcome
      }
      for agent in next.indices where next[agent] <= now {
        next[agent] = now + 1_000
        let end = now + 100 + random.below(200)
        let fails = end >= begin && now < repair
        if fails { outcome.unguarded += 1 }
        let permit = breaker.permit(now: .milliseconds(now))
        if case .wait = permit { continue }
        if permit == .probe {
          outcome.probes += 1
          outcome.probesAtOnce = max(outcome.probesAtOnce, calls.count { $0.permit == .probe } + 1)
        }
        calls.append(Call(end: end, permit: permit, fails: fails))
      }
    }
    return outcome
  }
}
