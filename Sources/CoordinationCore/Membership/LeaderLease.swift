/// What the engine keeps of a leadership, under one key with compare-and-set.
package struct LeaderRecord: Hashable, Sendable {
  /// Who leads; empty when the last one has stepped down. The record itself stays, for the sake of the epoch.
  package var holder: String
  /// The fencing token: each leadership has a higher one than all before.
  package var epoch: UInt64
  /// Rises with each renewal, so that others see that it lives without trusting each other's clocks.
  package var renewals: UInt64

  /// Puts a record together.
  package init(holder: String, epoch: UInt64, renewals: UInt64) {
    self.holder = holder
    self.epoch = epoch
    self.renewals = renewals
  }
}

/// One of those who could lead: it takes the lease when nobody renews it, renews it, and steps down in time.
///
/// Clocks are compared with nobody's: a record is dead when it hasn't changed for a whole lease *as this process saw it*, and the leader counts its
/// lease from before it sent the renewal. So two may believe to lead for the time of a stop of the process at most, and the epoch fences what the
/// earlier one still writes.
package struct LeaderCandidate: Sendable {
  /// Times.
  package struct Policy: Hashable, Sendable {
    /// How long a record lives without renewal.
    package var lease = Duration.seconds(10)
    /// How long the leader counts on it: less than the lease, for clocks that run at different speeds.
    package var margin = Duration.seconds(2)
    /// How often it is renewed, and looked at by the others.
    package var interval = Duration.seconds(2)

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// What the shell tells. Each read and write is answered once, by one of these; an answer that comes after `unanswered` is dropped.
  package enum Event: Hashable, Sendable {
    /// Time has passed.
    case tick
    /// The record as it was read, with its revision; nil: there is none.
    case read(LeaderRecord?, revision: UInt64)
    /// The write was taken, as this revision.
    case written(revision: UInt64)
    /// The write was refused: the revision is another one.
    case conflict
    /// There was no answer to a read or write.
    case unanswered
    /// This process ends.
    case resign
  }

  /// What the shell does.
  package enum Effect: Hashable, Sendable {
    /// Reads the record.
    case read
    /// Writes it where the revision is still this one (0: there is none).
    case write(LeaderRecord, expected: UInt64)
    /// This process leads from now on, under this epoch.
    case lead(epoch: UInt64)
    /// It leads no more.
    case stepDown
  }

  private enum Pending: Hashable, Sendable {
    case read
    case write(LeaderRecord, sent: Duration)
  }

  private let name: String
  private let policy: Policy
  private var pending: Pending?
  private var pendingSince = Duration.zero
  private var nextLook = Duration.zero
  private var seen: (record: LeaderRecord?, revision: UInt64)?
  /// When what was seen was seen for the first time.
  private var seenSince = Duration.zero
  private var leadership: (epoch: UInt64, until: Duration)?
  /// Whether a write may have been taken whose answer didn't come: only a read tells.
  private var isInDoubt = false
  private var hasResigned = false

  /// Somebody who doesn't lead yet. `name` is one that no other candidate and no earlier run has.
  package init(name: String, policy: Policy = Policy()) {
    self.name = name
    self.policy = policy
  }

  /// The epoch under which it leads now; nil: it doesn't.
  package func epoch(now: Duration) -> UInt64? { leadership.flatMap { now < $0.until ? $0.epoch : nil } }

  /// When to call `tick` at the latest.
  package var nextDeadline: Duration {
    let look = pending == nil ? nextLook : pendingSince + policy.lease
    return leadership.map { min($0.until, look) } ?? look
  }

  /// Takes note of an event.
  package mutating func handle(_ event: Event, now: Duration) -> [Effect] {
    var effects: [Effect] = []
    if let leadership, now >= leadership.until {
      self.leadership = nil
      effects.append(.stepDown)
    }
    switch event {
    case .tick: effects += tick(now)
    case .read(let record, let revision): effects += note(record, revision, now)
    case .written(let revision): effects += written(revision, now)
    case .conflict:
      guard case .write = pending else { break }
      // Somebody else writes, or this one's last write was taken and its answer lost: what stands there tells.
      (pending, isInDoubt, nextLook) = (nil, true, now)
      effects += tick(now)
    case .unanswered:
      if case .write = pending { isInDoubt = true }
      pending = nil
      // A leader has no time to lose.
      nextLook = now + (leadership == nil ? policy.interval : policy.interval / 4)
    case .resign:
      hasResigned = true
      pending = nil
      if leadership != nil, let seen, let record = seen.record {
        let free = LeaderRecord(holder: "", epoch: record.epoch, renewals: record.renewals + 1)
        effects += [.stepDown, .write(free, expected: seen.revision)]
      }
      leadership = nil
    }
    return effects
  }

  private mutating func tick(_ now: Duration) -> [Effect] {
    guard !hasResigned else { return [] }
    // An answer that doesn't come is none.
    if let pending, now - pendingSince >= policy.lease {
      if pending != .read { isInDoubt = true }
      self.pending = nil
    }
    guard pending == nil, now >= nextLook else { return [] }
    nextLook = now + policy.interval
    pendingSince = now
    if leadership != nil, !isInDoubt, let seen, let record = seen.record { return renew(record, seen.revision, now) }
    pending = .read
    return [.read]
  }

  private mutating func renew(_ record: LeaderRecord, _ revision: UInt64, _ now: Duration) -> [Effect] {
    let next = LeaderRecord(holder: name, epoch: record.epoch, renewals: record.renewals + 1)
    (pending, pendingSince) = (.write(next, sent: now), now)
    return [.write(next, expected: revision)]
  }

  private mutating func note(_ record: LeaderRecord?, _ revision: UInt64, _ now: Duration) -> [Effect] {
    guard pending == .read, !hasResigned else { return [] }
    (pending, isInDoubt) = (nil, false)
    if seen == nil || seen?.record != record || seen?.revision != revision {
      seen = (record, revision)
      seenSince = now
    }
    if let leadership {
      if let record, record.holder == name, record.epoch == leadership.epoch { return renew(record, revision, now) }
      self.leadership = nil
      return [.stepDown]
    }
    // Its own record is of a leadership that it gave up in doubt, or of a write whose answer was lost: nobody else counts on it.
    guard record == nil || ["", name].contains(record?.holder) || now - seenSince >= policy.lease else { return [] }
    let next = LeaderRecord(holder: name, epoch: (record?.epoch ?? 0) + 1, renewals: 0)
    (pending, pendingSince) = (.write(next, sent: now), now)
    return [.write(next, expected: revision)]
  }

  private mutating func written(_ revision: UInt64, _ now: Duration) -> [Effect] {
    guard case .write(let record, let sent) = pending else { return [] }
    (pending, isInDoubt) = (nil, false)
    seen = (record, revision)
    seenSince = now
    let until = sent + policy.lease - policy.margin
    // The answer took longer than the lease: whether somebody else leads by now is to be read.
    guard now < until, !hasResigned else { return [] }
    let isNew = leadership == nil
    leadership = (record.epoch, until)
    return isNew ? [.lead(epoch: record.epoch)] : []
  }
}
