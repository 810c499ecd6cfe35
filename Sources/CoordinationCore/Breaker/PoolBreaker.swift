/// The breaker of a pool of agents, in two scopes: an agent that fails five times in a row is left alone for a while, and when five *agents* fail,
/// the fault is not theirs and the pool as a whole opens.
///
/// Never more than half of the pool is left alone: a fault that all share must not empty it one by one.
package struct PoolBreaker: Sendable {
  /// When agents and pools are left alone.
  package struct Policy: Hashable, Sendable {
    /// Failures in a row after which an agent is left alone.
    package var agentFailures = 5
    /// For how long, times the number of times it has happened in a row.
    package var ejectionTime = Duration.seconds(30)
    /// For how long at most.
    package var longestEjection = Duration.seconds(300)
    /// The percentage of the pool that may be left alone at a time.
    package var ejectedPercent = 50
    /// Agents whose last call of late failed that open the pool, when they are at least half of those that called; all agents in a smaller pool, two at least.
    package var failingAgents = 5
    /// How long a failure counts as late.
    package var window = Duration.seconds(30)
    /// For how long the pool opens, and how it closes.
    package var breaker = CircuitBreaker.Policy()

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// What happens in a pool.
  package enum Event: Hashable, Sendable {
    /// An agent is there.
    case joined(String)
    /// It is gone.
    case left(String)
    /// Its work ended; `jitter` as with `CircuitBreaker`.
    case ended(String, CircuitBreaker.Permit, CircuitBreaker.Outcome, jitter: UInt32)
  }

  /// What changed.
  package enum Effect: Hashable, Sendable {
    /// The agent gets nothing until then.
    case ejected(String, until: Duration)
    /// The agent should have been ejected, but half of the pool is: it goes on.
    case spared(String)
    /// The pool opened or closed.
    case pool(CircuitBreaker.Effect)
  }

  private struct Agent: Sendable {
    var failures = 0
    var ejections = 0
    var ejectedUntil: Duration?
    var lastEnd: Duration?
    var hasFailedLast = false
  }

  private let policy: Policy
  private var agents: [String: Agent] = [:]
  private var breaker: CircuitBreaker

  /// A pool without agents.
  package init(policy: Policy = Policy()) {
    self.policy = policy
    breaker = CircuitBreaker(policy: policy.breaker)
  }

  /// Whether the pool as a whole works.
  package var isClosed: Bool { breaker.isClosed }

  /// The agents that are left alone, sorted.
  package func ejected(now: Duration) -> [String] {
    agents.filter { $0.value.ejectedUntil.map { $0 > now } ?? false }.keys.sorted()
  }

  /// Asks for one piece of work for an agent.
  package mutating func permit(_ agent: String, now: Duration) -> CircuitBreaker.Permit {
    if let until = agents[agent]?.ejectedUntil, now < until { return .wait(until: until) }
    return breaker.permit(now: now)
  }

  /// Takes note of an event.
  package mutating func handle(_ event: Event, now: Duration) -> [Effect] {
    switch event {
    case .joined(let name):
      if agents[name] == nil { agents[name] = Agent() }
      return []
    case .left(let name):
      agents[name] = nil
      return []
    case .ended(let name, let permit, let outcome, let jitter):
      guard var agent = agents[name] else { return [] }
      var effects: [Effect] = []
      if permit == .probe {
        effects += breaker.handle(.ended(permit, outcome, jitter: jitter), now: now).map(Effect.pool)
      }
      switch outcome {
      case .unknown, .backPressure: return effects
      case .success:
        agent.failures = 0
        agent.ejections = 0
        agent.lastEnd = now
        agent.hasFailedLast = false
        agents[name] = agent
        return effects
      case .failure:
        agent.failures += 1
        agent.lastEnd = now
        agent.hasFailedLast = true
        agents[name] = agent
        return effects + eject(name, now) + trip(jitter, now)
      }
    }
  }

  private mutating func eject(_ name: String, _ now: Duration) -> [Effect] {
    guard var agent = agents[name], agent.failures >= policy.agentFailures else { return [] }
    guard agent.ejectedUntil.map({ $0 <= now }) ?? true else { return [] }
    guard 100 * (ejected(now: now).count + 1) <= policy.ejectedPercent * agents.count else { return [.spared(name)] }
    agent.failures = 0
    agent.ejections += 1
    let until = now + min(policy.ejectionTime * agent.ejections, policy.longestEjection)
    agent.ejectedUntil = until
    agents[name] = agent
    return [.ejected(name, until: until)]
  }

  private mutating func trip(_ jitter: UInt32, _ now: Duration) -> [Effect] {
    guard breaker.isClosed else { return [] }
    let late = agents.values.filter { $0.lastEnd.map { now - $0 <= policy.window } ?? false }
    let failing = late.count(where: \.hasFailedLast)
    guard failing >= max(2, min(policy.failingAgents, agents.count)), 2 * failing >= late.count else { return [] }
    // What they did says nothing of them: each begins anew when the pool does.
    for name in agents.keys {
      agents[name]?.failures = 0
      agents[name]?.hasFailedLast = false
    }
    return breaker.handle(.tripped(jitter: jitter), now: now).map(Effect.pool)
  }
}
