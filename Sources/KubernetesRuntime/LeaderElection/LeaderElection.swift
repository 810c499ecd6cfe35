package import KubernetesCore

/// What a Lease says about who leads: the part of `coordination.k8s.io/v1` Lease that elections read and write.
package struct LeaseRecord: Hashable, Sendable {
  /// Who leads; empty when released.
  package var holderIdentity: String
  /// How long the others must wait after they saw the last renewal.
  package var leaseDuration: Duration
  /// When the holder acquired the lease, by the holder's wall clock; information only.
  package var acquireTime: Timestamp?
  /// When the holder renewed the lease, by the holder's wall clock; compared for change only, never with a clock.
  package var renewTime: Timestamp?
  /// How often the lease changed hands.
  package var leaseTransitions: Int

  /// Makes a record.
  package init(
    holderIdentity: String, leaseDuration: Duration, acquireTime: Timestamp?, renewTime: Timestamp?,
    leaseTransitions: Int
  ) {
    self.holderIdentity = holderIdentity
    self.leaseDuration = leaseDuration
    self.acquireTime = acquireTime
    self.renewTime = renewTime
    self.leaseTransitions = leaseTransitions
  }
}

/// One candidate's state in an election over a Lease, by the rules of client-go's `leaderelection`.
///
/// Why two leaders can't act at once: the leader counts its validity from the moment *before* it sent a successful
/// renewal, for `renewDeadline`; a candidate counts the longer `leaseDuration` from the moment *after* it saw that
/// renewal, each on its own monotonic clock. Wall clocks may differ or step as they like. What remains is clocks that
/// run at different speeds (by more than `leaseDuration / renewDeadline`), which is why writes also carry the
/// resource version.
package struct LeaderElection: Sendable {
  /// The times of an election.
  package struct Configuration: Hashable, Sendable {
    /// This candidate's name; unique per process, such as pod name and a random part.
    package var identity: String
    /// How long candidates wait after the last renewal they saw.
    package var leaseDuration: Duration
    /// How long a leader acts after the last renewal that succeeded.
    package var renewDeadline: Duration
    /// The pause between attempts.
    package var retryPeriod: Duration

    /// Makes a configuration with client-go's times; nil when `leaseDuration > renewDeadline > 1.2 × retryPeriod > 0` isn't so.
    package init?(
      identity: String, leaseDuration: Duration = .seconds(15), renewDeadline: Duration = .seconds(10),
      retryPeriod: Duration = .seconds(2)
    ) {
      guard leaseDuration > renewDeadline, renewDeadline * 5 > retryPeriod * 6, retryPeriod > .zero, !identity.isEmpty
      else { return nil }
      self.identity = identity
      self.leaseDuration = leaseDuration
      self.renewDeadline = renewDeadline
      self.retryPeriod = retryPeriod
    }
  }

  /// What the driver should do.
  package enum Action: Hashable, Sendable {
    /// Read the lease, then call `observed`.
    case read
    /// Create the lease with this record, then call `wrote` or `failed`.
    case create(LeaseRecord)
    /// Replace the lease at this resource version, then call `wrote` or `failed`.
    case replace(LeaseRecord, resourceVersion: String)
    /// Nothing until this moment.
    case wait(until: MonotonicTime)
    /// The lease is lost: stop acting now. Given once.
    case stepDown
  }

  private struct Observation {
    var record: LeaseRecord
    var resourceVersion: String
    var at: MonotonicTime
  }

  /// What is known of the lease; exits of each case are the results of the next request.
  private enum Knowledge {
    /// Nothing fresh: read before writing. Exits: absent, present.
    case unknown
    /// It doesn't exist. Exits: present (created), unknown (conflict or failure).
    case absent
    /// It was read or written last as observed. Exits: present, unknown.
    case present
  }

  private let configuration: Configuration
  private var knowledge = Knowledge.unknown
  private var observation: Observation?
  private var validUntil: MonotonicTime?
  private var nextAttempt: MonotonicTime?
  private var acquiredAt: Timestamp?

  /// Whether this candidate became leader and hasn't stepped down since; for acting ask `isValid(now:)`.
  package private(set) var isLeading = false
  /// How often this candidate became leader.
  package private(set) var acquisitions = 0
  /// How often this candidate lost the lease while leading.
  package private(set) var losses = 0

  /// Makes a candidate that knows nothing yet.
  package init(_ configuration: Configuration) {
    self.configuration = configuration
  }

  /// Who leads as far as this candidate has seen; empty when nobody does or nothing was seen.
  package var observedHolder: String { observation?.record.holderIdentity ?? "" }

  /// Until when this candidate may act as leader; nil when it doesn't lead.
  package var leadershipDeadline: MonotonicTime? { isLeading ? validUntil : nil }

  /// Whether this candidate may act as leader at `now`.
  package func isValid(now: MonotonicTime) -> Bool {
    guard isLeading, let validUntil else { return false }
    return now < validUntil
  }

  /// The next thing to do.
  package mutating func next(now: MonotonicTime, wall: Timestamp) -> Action {
    if isLeading, !isValid(now: now) {
      stepDown()
      return .stepDown
    }
    if let nextAttempt, now < nextAttempt {
      return .wait(until: isLeading ? min(nextAttempt, validUntil ?? nextAttempt) : nextAttempt)
    }
    switch knowledge {
    case .unknown: return .read
    case .absent: return .create(acquiringRecord(wall: wall, transitions: 0))
    case .present:
      guard let observation else { return .read }
      let record = observation.record
      if record.holderIdentity == configuration.identity {
        var renewed = acquiringRecord(wall: wall, transitions: record.leaseTransitions)
        renewed.acquireTime = record.acquireTime ?? renewed.acquireTime
        return .replace(renewed, resourceVersion: observation.resourceVersion)
      }
      if !record.holderIdentity.isEmpty, now < observation.at + record.leaseDuration {
        // Somebody leads. What is known ages from now on: read again at the next attempt.
        knowledge = .unknown
        return next(now: now, wall: wall)
      }
      return .replace(
        acquiringRecord(wall: wall, transitions: record.leaseTransitions + 1),
        resourceVersion: observation.resourceVersion)
    }
  }

  private func acquiringRecord(wall: Timestamp, transitions: Int) -> LeaseRecord {
    LeaseRecord(
      holderIdentity: configuration.identity, leaseDuration: configuration.leaseDuration, acquireTime: wall,
      renewTime: wall, leaseTransitions: transitions)
  }

  /// Takes in what a read gave (nil: the lease doesn't exist); `random` feeds the pause of a candidate that must wait.
  ///
  /// When this candidate leads and the lease names somebody else, `next` answers `stepDown` from now on.
  package mutating func observed(
    _ lease: (record: LeaseRecord, resourceVersion: String)?, now: MonotonicTime, random: UInt64
  ) {
    guard let lease else {
      knowledge = .absent
      observation = nil
      return
    }
    // Only a change counts as a sign of life; the same record seen again keeps its first moment.
    if observation?.record == lease.record {
      observation?.resourceVersion = lease.resourceVersion
    } else {
      observation = Observation(record: lease.record, resourceVersion: lease.resourceVersion, at: now)
    }
    knowledge = .present
    if lease.record.holderIdentity != configuration.identity, isLeading {
      // Taken over (or cleared by hand): this leader's time is up whatever its deadline says.
      validUntil = now
    }
    if let observation, !lease.record.holderIdentity.isEmpty, lease.record.holderIdentity != configuration.identity,
      now < observation.at + lease.record.leaseDuration
    {
      knowledge = .unknown
      nextAttempt = now + pause(random)
    }
  }

  /// Takes in that the write begun at `startedAt` succeeded with `record` at the new resource version.
  package mutating func wrote(
    _ record: LeaseRecord, resourceVersion: String, startedAt: MonotonicTime, now: MonotonicTime
  ) {
    observation = Observation(record: record, resourceVersion: resourceVersion, at: now)
    knowledge = .present
    nextAttempt = startedAt + configuration.retryPeriod
    let deadline = startedAt + configuration.renewDeadline
    if isLeading {
      // A renewal that comes back after the deadline doesn't revive a leadership that has lapsed meanwhile.
      if isValid(now: now) { validUntil = deadline }
    } else if now < deadline {
      isLeading = true
      acquisitions += 1
      validUntil = deadline
    }
  }

  /// Takes in that a request failed, or that a write met a conflict: what is known is stale, read again.
  ///
  /// A write whose answer got lost may have been carried out; the read finds out.
  package mutating func failed(now: MonotonicTime, retryAfter: Duration?, random: UInt64) {
    knowledge = .unknown
    // A leader tries again at its own pace whatever the server asks: the alternative is to lose the lease.
    nextAttempt = now + (isLeading ? configuration.retryPeriod : max(pause(random), retryAfter ?? .zero))
  }

  /// Takes in that a write met a conflict: the lease has changed since it was read, read again.
  ///
  /// A leader does so soon, since it may have been taken over; a candidate was outrun and takes its usual pause.
  package mutating func conflicted(now: MonotonicTime, random: UInt64) {
    knowledge = .unknown
    nextAttempt = now + (isLeading ? configuration.retryPeriod / 4 : pause(random))
  }

  /// The record that gives the lease up, so that the next leader needn't wait; nil when this candidate doesn't lead.
  ///
  /// After this the candidate no longer leads; as client-go, it leaves a lease of one second without a holder.
  package mutating func release(wall: Timestamp) -> (record: LeaseRecord, resourceVersion: String)? {
    guard isLeading, let observation else { return nil }
    isLeading = false
    validUntil = nil
    knowledge = .unknown
    nextAttempt = nil
    guard observation.record.holderIdentity == configuration.identity else { return nil }
    return (
      LeaseRecord(
        holderIdentity: "", leaseDuration: .seconds(1), acquireTime: wall, renewTime: wall,
        leaseTransitions: observation.record.leaseTransitions),
      observation.resourceVersion
    )
  }

  private mutating func stepDown() {
    isLeading = false
    losses += 1
    validUntil = nil
    knowledge = .unknown
  }

  /// Between 1 and 2.2 retry periods, as client-go's jitter factor of 1.2, so that candidates don't march in step.
  private func pause(_ random: UInt64) -> Duration {
    configuration.retryPeriod + configuration.retryPeriod * Int(random % 1201) / 1000
  }
}
