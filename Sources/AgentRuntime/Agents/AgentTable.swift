package import CoordinationCore

/// Which agents a pod has, where each stands, and whom the breaker leaves alone. Pure.
package struct AgentTable: Sendable {
  /// Where an agent stands. It ends from each of them: what it holds is released, and it is in no table any more.
  package enum Stage: String, Hashable, Sendable, CaseIterable {
    /// Waits for a slot and for memory. Exits: `running`, gone.
    case spawned
    /// Works in a slot. Exits: `waiting`, `parked`, gone.
    case running
    /// Waits without a slot, its state in memory. Exits: `running`, gone.
    case waiting
    /// The same, its state packed. Exits: `running`, gone.
    case parked
  }

  /// Why an agent isn't begun.
  package enum Refusal: Hashable, Sendable {
    /// One of this name is there.
    case taken
    /// There are as many as may be.
    case full(limit: Int)
    /// It has failed too often; ask again so much later.
    case leftAlone(Duration)
    /// So many agents have failed that none begins; ask again so much later.
    case poolOpen(Duration)
  }

  /// How an agent ended.
  package enum Ending: Hashable, Sendable {
    /// Its work is done.
    case committed
    /// It failed by a fault.
    case failed
    /// It ended for a reason that says nothing of it: drained, cancelled, told to come later.
    case handedBack
  }

  /// What was counted.
  package struct Counts: Hashable, Sendable {
    /// Agents that were begun.
    package var spawned = 0
    /// Agents that ended, by how.
    package var committed = 0
    package var failed = 0
    package var handedBack = 0
    /// Agents that were not begun, because of the breaker or the bound.
    package var refused = 0
    /// Agents that the breaker has left alone.
    package var ejected = 0
    /// Openings of the pool's breaker.
    package var opened = 0

    /// Nothing yet.
    package init() {}
  }

  private struct Agent: Sendable {
    var stage: Stage
    var permit: CircuitBreaker.Permit
  }

  /// Names of agents that failed last, and of such that succeeded, that are remembered at most while they aren't there; beyond that the oldest is
  /// forgotten. The breaker needs the first to count failures in a row, the second to know that not all fail.
  private static let remembered = (failing: 1_024, succeeded: 256)

  private let limit: Int
  private var agents: [String: Agent] = [:]
  private var stages: [Stage: Int] = [:]
  private var breaker: PoolBreaker
  private var failing = Remembered()
  private var succeeded = Remembered()
  /// What was counted.
  package private(set) var counts = Counts()

  /// A table without agents.
  package init(limit: Int, breaker: PoolBreaker.Policy = .init()) {
    self.limit = max(1, limit)
    self.breaker = PoolBreaker(policy: breaker)
  }

  /// How many agents there are.
  package var count: Int { agents.count }
  /// How many stand somewhere.
  package func count(_ stage: Stage) -> Int { stages[stage] ?? 0 }
  /// Whether the pool as a whole works.
  package var isClosed: Bool { breaker.isClosed }

  /// Begins an agent; nil: it is there, as `spawned`.
  package mutating func spawn(_ name: String, now: Duration) -> Refusal? {
    let refusal = permit(name, now)
    if refusal == nil { counts.spawned += 1 } else { counts.refused += 1 }
    return refusal
  }

  private mutating func permit(_ name: String, _ now: Duration) -> Refusal? {
    guard agents[name] == nil else { return .taken }
    guard agents.count < limit else { return .full(limit: limit) }
    let permit = breaker.permit(name, now: now)
    if case .wait(let until) = permit {
      return breaker.isClosed ? .leftAlone(until - now) : .poolOpen(until - now)
    }
    _ = breaker.handle(.joined(name), now: now)
    agents[name] = Agent(stage: .spawned, permit: permit)
    stages[.spawned, default: 0] += 1
    return nil
  }

  /// An agent stands elsewhere from now on.
  package mutating func move(_ name: String, to stage: Stage) {
    guard let old = agents[name]?.stage, old != stage else { return }
    agents[name]?.stage = stage
    stages[old, default: 1] -= 1
    stages[stage, default: 0] += 1
  }

  /// An agent is gone. `jitter` as with `CircuitBreaker`.
  ///
  /// The breaker forgets who succeeded; of who failed it needs to know when it comes again.
  package mutating func end(_ name: String, _ ending: Ending, jitter: UInt32, now: Duration) -> [PoolBreaker.Effect] {
    guard let agent = agents.removeValue(forKey: name) else { return [] }
    stages[agent.stage, default: 1] -= 1
    let outcome: CircuitBreaker.Outcome
    switch ending {
    case .committed: (counts.committed, outcome) = (counts.committed + 1, .success)
    case .failed: (counts.failed, outcome) = (counts.failed + 1, .failure)
    case .handedBack: (counts.handedBack, outcome) = (counts.handedBack + 1, .unknown)
    }
    let effects = breaker.handle(.ended(name, agent.permit, outcome, jitter: jitter), now: now)
    for effect in effects {
      switch effect {
      case .ejected: counts.ejected += 1
      case .pool(.opened): counts.opened += 1
      case .spared, .pool(.closed): break
      }
    }
    remember(name, ending, now)
    return effects
  }

  private mutating func remember(_ name: String, _ ending: Ending, _ now: Duration) {
    switch ending {
    case .committed:
      failing.remove(name)
      succeeded.append(name)
    case .failed:
      succeeded.remove(name)
      failing.append(name)
    case .handedBack: forget(name, now)
    }
    if failing.count > Self.remembered.failing { forget(failing.removeFirst(), now) }
    if succeeded.count > Self.remembered.succeeded { forget(succeeded.removeFirst(), now) }
  }

  /// Lets the breaker forget an agent, unless it is there or remembered.
  private mutating func forget(_ name: String, _ now: Duration) {
    guard agents[name] == nil, !failing.contains(name), !succeeded.contains(name) else { return }
    _ = breaker.handle(.left(name), now: now)
  }
}

/// Names in the order in which they came, each once.
private struct Remembered: Sendable {
  private var order: [UInt64: String] = [:]
  private var places: [String: UInt64] = [:]
  private var first: UInt64 = 0
  private var next: UInt64 = 0

  var count: Int { places.count }
  func contains(_ name: String) -> Bool { places[name] != nil }

  mutating func append(_ name: String) {
    remove(name)
    (order[next], places[name]) = (name, next)
    next += 1
  }

  mutating func remove(_ name: String) {
    if let place = places.removeValue(forKey: name) { order[place] = nil }
  }

  /// The oldest, which must be there.
  mutating func removeFirst() -> String {
    while true {
      defer { first += 1 }
      if let name = order.removeValue(forKey: first) {
        places[name] = nil
        return name
      }
    }
  }
}
