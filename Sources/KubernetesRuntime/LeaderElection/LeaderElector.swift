package import KubernetesCore
package import Logging
import ServiceLifecycle
import Synchronization

/// Takes part in an election over a Lease and runs a body while this process leads.
///
/// The state machine is ``LeaderElection``; this drives it over a transport.
package final class LeaderElector: Sendable {
  /// What a body of work can ask about the leadership it runs under.
  package struct Leadership: Sendable {
    fileprivate let elector: LeaderElector

    /// Whether this process may act as leader now: ask right before every write.
    package var isValid: Bool { elector.leadershipValid(now: elector.time.monotonicNow) }
    /// Until when it may act if no further renewal succeeds; nil when it no longer leads.
    package var deadline: MonotonicTime? { elector.state.withLock { $0.leadershipDeadline } }
  }

  /// The numbers of an election.
  package struct Metrics: Hashable, Sendable {
    /// Whether this process leads.
    package var isLeader: Bool
    /// Who leads as far as this process has seen; empty for nobody.
    package var holder: String
    /// How often this process became leader.
    package var acquisitions: Int
    /// How often this process lost the lease while leading.
    package var losses: Int
  }

  private enum Ending: Sendable {
    case lost
    case bodyReturned
  }

  private let transport: any APITransport
  private let lease: ObjectKey
  private let configuration: LeaderElection.Configuration
  fileprivate let time: any TimeSource
  private let random: @Sendable () -> UInt64
  private let logger: Logger
  fileprivate let state: Mutex<LeaderElection>

  /// Makes an elector for the Lease named `lease`.
  package init(
    transport: any APITransport, lease: ObjectKey, configuration: LeaderElection.Configuration,
    time: any TimeSource, random: @escaping @Sendable () -> UInt64 = { UInt64.random(in: .min ... .max) },
    logger: Logger
  ) {
    self.transport = transport
    self.lease = lease
    self.configuration = configuration
    self.time = time
    self.random = random
    self.logger = logger
    state = Mutex(LeaderElection(configuration))
  }

  /// Whether this process may act as leader at `now`.
  package func leadershipValid(now: MonotonicTime) -> Bool { state.withLock { $0.isValid(now: now) } }

  /// Whether this process may act as leader now.
  package var isLeader: Bool { leadershipValid(now: time.monotonicNow) }

  /// The election's numbers.
  package var metrics: Metrics {
    let now = time.monotonicNow
    return state.withLock { state in
      Metrics(
        isLeader: state.isValid(now: now), holder: state.observedHolder, acquisitions: state.acquisitions,
        losses: state.losses)
    }
  }

  /// Runs for election until graceful shutdown, and `onLeading` each time this process leads.
  ///
  /// When the lease is lost the body is cancelled and awaited before the next candidature. On graceful shutdown the
  /// body is expected to end by itself; the lease is renewed until it has, and released then. Returns when the body
  /// returns; throws what it throws, and `CancellationError` only when the calling task was cancelled.
  package func run(onLeading body: @escaping @Sendable (Leadership) async throws -> Void) async throws {
    while try await acquire() {
      logger.info("became leader", metadata: metadata)
      do {
        let ending = try await lead(body)
        if case .bodyReturned = ending {
          await release()
          return
        }
      } catch {
        if !Task.isCancelled { await release() }
        throw error
      }
      logger.warning("lost the lease", metadata: metadata)
    }
  }

  private var metadata: Logger.Metadata {
    ["lease": "\(lease)", "leader_election.identity": "\(configuration.identity)"]
  }

  /// Returns true once this process leads, false at graceful shutdown.
  private func acquire() async throws -> Bool {
    let acquired = try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask {
        while true {
          if try await self.step() == .leading { return true }
        }
      }
      group.addTask {
        try await gracefulShutdown()
        return false
      }
      defer { group.cancelAll() }
      return try await group.next() ?? false
    }
    // A shutdown may have come together with the lease: then give it back.
    if !acquired { await release() }
    return acquired
  }

  private func lead(_ body: @escaping @Sendable (Leadership) async throws -> Void) async throws -> Ending {
    try await withThrowingTaskGroup(of: Ending.self) { group in
      group.addTask {
        while try await self.step() != .lost {}
        return .lost
      }
      group.addTask {
        do {
          try await body(Leadership(elector: self))
        } catch is CancellationError where Task.isCancelled {
          // Cancelled because the lease was lost: the other child has said so.
        }
        return .bodyReturned
      }
      defer { group.cancelAll() }
      let first = try await group.next() ?? .bodyReturned
      group.cancelAll()
      // An error of the body while it was being cancelled is still an error.
      if case .lost = first { while try await group.next() != nil {} }
      try Task.checkCancellation()
      return first
    }
  }

  private enum Step: Sendable {
    case candidate
    case leading
    case lost
  }

  /// Carries out the machine's next action.
  private func step() async throws -> Step {
    let (now, wall) = (time.monotonicNow, time.wallNow)
    switch state.withLock({ $0.next(now: now, wall: wall) }) {
    case .stepDown: return .lost
    case .wait(let until): try await time.sleep(until: until)
    case .read: try await request { try await self.read() }
    case .create(let record):
      try await request { try await self.write(record, resourceVersion: nil, startedAt: now) }
    case .replace(let record, let resourceVersion):
      try await request { try await self.write(record, resourceVersion: resourceVersion, startedAt: now) }
    }
    return state.withLock { $0.isLeading } ? .leading : .candidate
  }

  /// Runs one request, no longer than the leadership lasts and no longer than half of the renew deadline, so that one
  /// that hangs leaves time for another.
  private func request(_ operation: @escaping @Sendable () async throws -> Void) async throws {
    let now = time.monotonicNow
    let limit = now + configuration.renewDeadline / 2
    let deadline = state.withLock { $0.leadershipDeadline }.map { min($0, limit) } ?? limit
    do {
      if try await withDeadline(deadline, time, operation) == nil {
        throw KubernetesError(.timedOut, "no answer about lease \(lease) within \(deadline - now)")
      }
    } catch let error as KubernetesError {
      let (now, drawn) = (time.monotonicNow, random())
      let level: Logger.Level = error.disposition == .terminal ? .warning : .debug
      logger.log(level: level, "request for the lease failed", metadata: ["error": "\(error)"])
      state.withLock { state in
        if error.code == .conflict {
          state.conflicted(now: now, random: drawn)
        } else {
          state.failed(now: now, retryAfter: error.retryAfter, random: drawn)
        }
      }
    }
  }

  private func read() async throws {
    do {
      let found = try await client.get(Lease.self, lease)
      let (now, drawn) = (time.monotonicNow, random())
      state.withLock { state in
        state.observed((LeaseRecord(found.spec), found.resourceVersion), now: now, random: drawn)
      }
    } catch let error as KubernetesError where error.code == .notFound {
      let (now, drawn) = (time.monotonicNow, random())
      state.withLock { $0.observed(nil, now: now, random: drawn) }
    }
  }

  private func write(_ record: LeaseRecord, resourceVersion: String?, startedAt: MonotonicTime) async throws {
    let object = Lease(
      metadata: ObjectMeta(
        name: lease.name, namespace: lease.namespace, resourceVersion: resourceVersion ?? ""),
      spec: Lease.Spec(record))
    let stored =
      resourceVersion == nil ? try await client.create(object) : try await client.replace(object)
    let now = time.monotonicNow
    state.withLock { state in
      // What the server stored, which a later read gives back: the record is compared to notice change.
      state.wrote(
        LeaseRecord(stored.spec), resourceVersion: stored.resourceVersion, startedAt: startedAt, now: now)
    }
  }

  /// A client that sends nothing twice: the state machine has its own schedule.
  private var client: APIClient {
    APIClient(transport: transport, time: time, retryPolicy: .never, random: random)
  }

  /// Gives the lease up so that the next leader needn't wait; failing that, it expires.
  private func release() async {
    let wall = time.wallNow
    guard let (record, version) = state.withLock({ $0.release(wall: wall) }) else { return }
    let object = Lease(
      metadata: ObjectMeta(name: lease.name, namespace: lease.namespace, resourceVersion: version),
      spec: Lease.Spec(record))
    let deadline = time.monotonicNow + configuration.renewDeadline / 2
    do {
      let client = client
      _ = try await withDeadline(deadline, time) { try await client.replace(object) }
      logger.info("released the lease", metadata: metadata)
    } catch {
      logger.debug("could not release the lease; it expires", metadata: ["error": "\(error)"])
    }
  }
}

extension LeaseRecord {
  /// What a Lease's spec says; absent fields are empty.
  init(_ spec: Lease.Spec) {
    self.init(
      holderIdentity: spec.holderIdentity ?? "", leaseDuration: .seconds(Int64(spec.leaseDurationSeconds ?? 0)),
      acquireTime: spec.acquireTime?.timestamp, renewTime: spec.renewTime?.timestamp,
      leaseTransitions: Int(spec.leaseTransitions ?? 0))
  }
}

extension Lease.Spec {
  /// A record in the Lease's own fields; the duration is rounded up to whole seconds.
  init(_ record: LeaseRecord) {
    let (seconds, attoseconds) = record.leaseDuration.components
    self.init(
      holderIdentity: record.holderIdentity,
      leaseDurationSeconds: Int32(clamping: attoseconds > 0 ? seconds + 1 : seconds),
      acquireTime: record.acquireTime.map { MicroTimestamp($0) },
      renewTime: record.renewTime.map { MicroTimestamp($0) },
      leaseTransitions: Int32(clamping: record.leaseTransitions))
  }
}
