import PriorityQueue

/// Who belongs to the fleet: members hold leases, are suspected when they are late, and expire when they don't come back.
///
/// A member's *incarnation* is a number that rises with each start of it. What has expired can't come back under the same number: what it
/// held may be somebody else's by then, so it must join anew. Pure.
package struct Membership: Sendable {
  /// How long silence is borne.
  package struct Policy: Hashable, Sendable {
    /// How long a member may be silent. A failover of the engine takes up to 8 s: this covers it three times.
    package var lease = Duration.seconds(30)
    /// After how much silence it is suspected: it gets nothing new, and keeps what it has.
    package var suspicion = Duration.seconds(20)
    /// How long incarnations that have ended are remembered. Messages must not travel for longer.
    package var memory = Duration.seconds(600)

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// A member.
  package struct Member: Hashable, Sendable {
    /// Which start of it this is.
    package var incarnation: UInt64
    /// How many agents it can run.
    package var slots: Int
    /// Since when it has been silent.
    package var lastHeard: Duration
    /// Whether it is late.
    package var isSuspect = false
  }

  /// What members say.
  package enum Event: Hashable, Sendable {
    /// One starts.
    case join(String, incarnation: UInt64, slots: Int)
    /// One is still there, with as many slots.
    case renew(String, incarnation: UInt64, slots: Int)
    /// One ends and holds nothing any more.
    case leave(String, incarnation: UInt64)
    /// Time has passed.
    case tick
  }

  /// What follows.
  package enum Effect: Hashable, Sendable {
    /// A member is new.
    case joined(String, incarnation: UInt64)
    /// It is late: nothing new for it.
    case suspected(String)
    /// It was only late.
    case recovered(String)
    /// It has other slots now.
    case resized(String, slots: Int)
    /// It is gone, with what it held.
    case ended(String, incarnation: UInt64, Ending)
    /// The sender's incarnation has ended: it must drop what it holds, and join anew under a higher number.
    case refused(String, incarnation: UInt64)
  }

  /// How a member ended.
  package enum Ending: Hashable, Sendable {
    /// It said so.
    case left
    /// It was silent for longer than its lease.
    case expired
    /// It has started anew.
    case replaced
  }

  private struct Due: Comparable, Sendable {
    var at: Duration
    var name: String
    var incarnation: UInt64
    static func < (lhs: Due, rhs: Due) -> Bool { (lhs.at, lhs.name) < (rhs.at, rhs.name) }
  }

  private let policy: Policy
  /// The members by name.
  package private(set) var members: [String: Member] = [:]
  /// The highest incarnation of each name that has ended.
  private var ended: [String: UInt64] = [:]
  private var deadlines = BinaryHeap<Due>()
  private var memories = BinaryHeap<Due>()

  /// A fleet without members.
  package init(policy: Policy = Policy()) { self.policy = policy }

  /// When something happens by itself next at the earliest.
  package var nextDeadline: Duration? { [deadlines.first?.at, memories.first?.at].compactMap { $0 }.min() }

  /// The members that get work, sorted by name.
  package var available: [(name: String, member: Member)] {
    members.filter { !$0.value.isSuspect }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// Takes note of an event; what time brings comes first.
  package mutating func handle(_ event: Event, now: Duration) -> [Effect] {
    let effects = pass(now)
    switch event {
    case .tick: return effects
    case .join(let name, let incarnation, let slots): return effects + join(name, incarnation, slots, now)
    case .renew(let name, let incarnation, let slots): return effects + renew(name, incarnation, slots, now)
    case .leave(let name, let incarnation):
      guard members[name]?.incarnation == incarnation else { return effects }
      return effects + [end(name, .left, now)]
    }
  }

  private mutating func join(_ name: String, _ incarnation: UInt64, _ slots: Int, _ now: Duration) -> [Effect] {
    var effects: [Effect] = []
    if let member = members[name] {
      // Said twice: the answer was lost.
      if member.incarnation == incarnation { return renew(name, incarnation, slots, now) }
      guard member.incarnation < incarnation else { return [.refused(name, incarnation: incarnation)] }
      effects.append(end(name, .replaced, now))
    }
    guard incarnation > ended[name] ?? 0 else { return effects + [.refused(name, incarnation: incarnation)] }
    members[name] = Member(incarnation: incarnation, slots: slots, lastHeard: now)
    deadlines.push(Due(at: now + min(policy.suspicion, policy.lease), name: name, incarnation: incarnation))
    return effects + [.joined(name, incarnation: incarnation)]
  }

  private mutating func renew(_ name: String, _ incarnation: UInt64, _ slots: Int, _ now: Duration) -> [Effect] {
    guard var member = members[name], member.incarnation == incarnation else {
      return [.refused(name, incarnation: incarnation)]
    }
    var effects: [Effect] = []
    if member.isSuspect { effects.append(.recovered(name)) }
    if member.slots != slots { effects.append(.resized(name, slots: slots)) }
    member.isSuspect = false
    member.slots = slots
    member.lastHeard = max(member.lastHeard, now)
    members[name] = member
    return effects
  }

  private mutating func end(_ name: String, _ ending: Ending, _ now: Duration) -> Effect {
    let incarnation = members.removeValue(forKey: name)?.incarnation ?? 0
    ended[name] = max(ended[name] ?? 0, incarnation)
    memories.push(Due(at: now + policy.memory, name: name, incarnation: incarnation))
    return .ended(name, incarnation: incarnation, ending)
  }

  private mutating func pass(_ now: Duration) -> [Effect] {
    var effects: [Effect] = []
    while let due = deadlines.first, due.at <= now {
      deadlines.pop()
      guard var member = members[due.name], member.incarnation == due.incarnation else { continue }
      let silence = now - member.lastHeard
      if silence >= policy.lease {
        effects.append(end(due.name, .expired, now))
        continue
      }
      if silence >= policy.suspicion, !member.isSuspect {
        member.isSuspect = true
        members[due.name] = member
        effects.append(.suspected(due.name))
      }
      // One entry a member: it is looked at when it would be late next.
      let next = member.isSuspect ? policy.lease : min(policy.suspicion, policy.lease)
      deadlines.push(Due(at: member.lastHeard + next, name: due.name, incarnation: due.incarnation))
    }
    while let due = memories.first, due.at <= now {
      memories.pop()
      if ended[due.name] == due.incarnation { ended[due.name] = nil }
    }
    return effects
  }
}
