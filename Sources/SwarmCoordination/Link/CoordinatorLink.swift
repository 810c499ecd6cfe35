package import CoordinationProtocol
import GRPCCore
import GRPCNIOTransportHTTP2
package import RateBudget
import Synchronization

/// Gives grants by the coordinator of the fleet, and by the worker's own share while that is away.
///
/// `run` keeps the stream; nothing is granted unless it runs. Instants are of the clock that it was made with, so the
/// gateway's must be the same.
package final class CoordinatorLink: BudgetAuthority {
  private struct Core {
    var state: LinkState
    var admissions: [UInt64: CheckedContinuation<Result<Admission, AdmissionError>, Never>] = [:]
    var rejections: [UInt64: CheckedContinuation<RejectionDecision, Never>] = [:]
    var generator: LinkGenerator
  }

  /// The worker that it speaks for; ids of requests must have its `client`.
  package let identity: WorkerIdentity
  let configuration: LinkConfiguration
  private let clock: any CoordinationClock
  private let onDrain: @Sendable (DrainOrder) -> Void
  private let standingDrain: @Sendable () -> StandingDrain?
  private let core: Mutex<Core>
  private let wake = Wakeup()
  private let outgoing = Wakeup()
  private let silent = Wakeup()
  private let leaving = Wakeup()

  /// Makes a link. `seed` spreads attempts to connect and second attempts; `onDrain` is called with each order of the
  /// coordinator, by the task that reads the stream: it must not wait. `standingDrain` is the order that the worker keeps to,
  /// which the next coordinator is told.
  package init(
    identity: WorkerIdentity, configuration: LinkConfiguration, clock: any CoordinationClock, seed: UInt64,
    standingDrain: @escaping @Sendable () -> StandingDrain? = { nil },
    onDrain: @escaping @Sendable (DrainOrder) -> Void = { _ in }
  ) {
    self.identity = identity
    self.configuration = configuration
    self.clock = clock
    self.onDrain = onDrain
    self.standingDrain = standingDrain
    core = Mutex(
      Core(
        state: LinkState(identity: identity, configuration: configuration, seed: seed),
        generator: LinkGenerator(state: ~seed)))
  }

  /// Whether the coordinator grants now; otherwise the worker's share does.
  package var isConnected: Bool { core.withLock { $0.state.isConnected } }
  /// The coordinator that was there last; differs after a failover.
  package var coordinator: String? { core.withLock { $0.state.coordinator } }
  /// The groups that the coordinator has configured: which models belong together.
  package var groups: [GroupConfiguration] { core.withLock { $0.state.configured } }
  /// What it has counted.
  package var counts: LinkCounts { core.withLock { $0.state.counts } }

  /// The budgets as this worker sees them, by key.
  package func reports() -> [(key: GroupKey, report: GroupReport)] {
    let now = clock.now
    return core.withLock { $0.state.reports(now: now) }
  }

  // MARK: BudgetAuthority

  package func group(model: String, speed: String) -> GroupKey {
    core.withLock { $0.state.plan.group(model: model, speed: speed) }
  }

  package func acquire(_ request: AdmissionRequest) async throws(AdmissionError) -> Admission {
    let number = request.grant.id.number
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Result<Admission, AdmissionError>, Never>) in
        let now = clock.now
        let known = core.withLock { core -> Result<Admission, AdmissionError>? in
          guard !Task.isCancelled else { return .failure(.cancelled) }
          switch core.state.acquire(request, now: now) {
          case .admitted(let admission): return .success(admission)
          case .failed(let error): return .failure(error)
          case .waiting:
            core.admissions[number] = continuation
            return nil
          }
        }
        if let known { continuation.resume(returning: known) }
        wake.signal()
        outgoing.signal()
      }
    } onCancel: {
      cancel(number)
    }
    return try result.get()
  }

  private func cancel(_ number: UInt64) {
    let now = clock.now
    let waiter = core.withLock { core -> CheckedContinuation<Result<Admission, AdmissionError>, Never>? in
      guard let waiter = core.admissions.removeValue(forKey: number) else { return nil }
      _ = core.state.cancel(number, now: now)
      return waiter
    }
    waiter?.resume(returning: .failure(.cancelled))
    outgoing.signal()
    wake.signal()
  }

  package func settle(_ admission: Admission, usage: Usage, isFinal: Bool) {
    let now = clock.now
    switch core.withLock({ $0.state.settle(admission, usage: usage, isFinal: isFinal, now: now) }) {
    case .none: return
    case .wake: wake.signal()
    case .send:
      outgoing.signal()
      if isFinal { wake.signal() }
    }
  }

  package func release(_ admission: Admission) {
    let now = clock.now
    core.withLock { $0.state.release(admission, now: now) }
    outgoing.signal()
    wake.signal()
  }

  package func observe(_ headers: RateHeaders, of admission: Admission) {
    let now = clock.now
    core.withLock { $0.state.observe(headers, of: admission, now: now) }
    outgoing.signal()
    wake.signal()
  }

  package func reject(
    _ admission: Admission, verdict: UpstreamVerdict, headers: RateHeaders
  ) async -> RejectionDecision {
    let number = admission.grant.id.number
    return await withCheckedContinuation { (continuation: CheckedContinuation<RejectionDecision, Never>) in
      let now = clock.now
      let known = core.withLock { core -> RejectionDecision? in
        let decision = core.state.reject(admission, verdict: verdict, headers: headers, now: now)
        if decision == nil { core.rejections[number] = continuation }
        return decision
      }
      if let known { continuation.resume(returning: known) }
      outgoing.signal()
      wake.signal()
    }
  }

  // MARK: The agent pool's side

  /// Tells the coordinator what the worker does.
  package func report(_ activity: WorkerActivity) {
    core.withLock { $0.state.report(activity) }
    outgoing.signal()
  }

  /// Answers an order to drain.
  package func answer(_ order: DrainOrder, _ state: DrainState) {
    core.withLock { $0.state.answer(DrainAnswer(order: order.order, state: state)) }
    outgoing.signal()
  }

  /// Says goodbye: the worker ends for good, and its share is free for others at once. `run` returns once the
  /// coordinator has heard it, or can't be reached.
  package func leave() {
    core.withLock { $0.state.leave() }
    outgoing.signal()
    leaving.signal()
  }

  // MARK: Running

  /// Keeps the stream, and grants while there is none, until the task is cancelled or the worker leaves.
  ///
  /// - Throws: `CancellationError`. A lost stream isn't an error: `onFailure` is told, and the next attempt follows.
  package func run(onFailure: @escaping @Sendable (any Error) -> Void = { _ in }) async throws {
    defer { endWaiting() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.keepTime() }
      group.addTask { try await self.keepConnected(onFailure) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func endWaiting() {
    let (admissions, rejections) = core.withLock { core in
      defer {
        core.admissions = [:]
        core.rejections = [:]
      }
      return (core.admissions, core.rejections)
    }
    for (_, waiter) in admissions.sorted(by: { $0.key < $1.key }) { waiter.resume(returning: .failure(.cancelled)) }
    for (_, waiter) in rejections.sorted(by: { $0.key < $1.key }) { waiter.resume(returning: .unknown) }
  }

  private func keepTime() async throws {
    while true {
      let now = clock.now
      let (resolutions, isSilent, isDue, next) = core.withLock { core in
        let resolutions = core.state.advance(now: now)
        let isDue = core.state.isProgressDue(at: now)
        // What is due is sent now, not looked at again until it is.
        let next = isDue ? core.state.nextDeadline(now: now).map { max($0, now + configuration.batch) } : nil
        return (resolutions, core.state.isSilent(at: now), isDue, next ?? core.state.nextDeadline(now: now))
      }
      resolve(resolutions)
      if isDue { outgoing.signal() }
      if isSilent {
        silent.signal()
        // The stream is given up now; what waits must not wait for its end.
        lose()
        continue
      }
      try await wake.wait(until: next, now: clock.now) { [clock] in try await clock.sleep(until: $0) }
    }
  }

  private func lose() {
    let now = clock.now
    resolve(core.withLock { $0.state.lost(now: now) })
    wake.signal()
  }

  private func resolve(_ resolutions: [LinkState.Resolution]) {
    for resolution in resolutions {
      switch resolution {
      case .admitted(let number, let admission):
        core.withLock { $0.admissions.removeValue(forKey: number) }?.resume(returning: .success(admission))
      case .failed(let number, let error):
        core.withLock { $0.admissions.removeValue(forKey: number) }?.resume(returning: .failure(error))
      case .answered(let number, let decision):
        core.withLock { $0.rejections.removeValue(forKey: number) }?.resume(returning: decision)
      case .drain(let order): onDrain(order)
      }
    }
  }

  // MARK: The stream

  private func keepConnected(_ onFailure: @Sendable (any Error) -> Void) async throws {
    var failures = 0
    while true {
      let wasConnected: Bool
      do {
        wasConnected = try await connect()
      } catch let failure as LinkFailure {
        wasConnected = failure.wasConnected
        if !Task.isCancelled { onFailure(failure.cause) }
      }
      lose()
      try Task.checkCancellation()
      guard !core.withLock({ $0.state.isLeaving }) else { return }
      failures = wasConnected ? 0 : failures + 1
      let now = clock.now
      try await leaving.wait(until: now + pause(after: failures), now: now) { [clock] in
        try await clock.sleep(until: $0)
      }
      guard !core.withLock({ $0.state.isLeaving }) else { return }
    }
  }

  /// Half of the pause is fixed, half is drawn, so that workers that lost the coordinator together come back spread.
  private func pause(after failures: Int) -> Duration {
    var full = configuration.backoff
    for _ in 0..<min(failures, 16) where full < configuration.longestBackoff {
      full = min(full * 2, configuration.longestBackoff)
    }
    let drawn = core.withLock { Int64.random(in: 0...1_024, using: &$0.generator) }
    return full / 2 + full / 2 * Int(drawn) / 1_024
  }

  /// One stream, from hello to its end; whether it was welcomed.
  private func connect() async throws -> Bool {
    let stream = LinkStream()
    do {
      let transport = try HTTP2ClientTransport.Posix(
        target: configuration.target, transportSecurity: configuration.transportSecurity,
        config: .defaults { config in
          config.connection.keepalive = .init(time: .seconds(5), timeout: .seconds(5), allowWithoutCalls: false)
          if case .tls(_, let name?) = configuration.security { config.http2.authority = name }
          config.backoff = .init(initial: .milliseconds(100), max: .seconds(1), multiplier: 1.5, jitter: 0.2)
        })
      try await withGRPCClient(transport: transport) { client in
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { try await self.join(client, stream) }
          group.addTask {
            try await self.silent.wait()
            throw RPCError(code: .unavailable, message: "the coordinator was silent for a lease")
          }
          defer { group.cancelAll() }
          try await group.next()
        }
      }
    } catch {
      throw LinkFailure(wasConnected: stream.isWelcome, cause: error)
    }
    return stream.isWelcome
  }

  private func join(
    _ client: GRPCClient<HTTP2ClientTransport.Posix>, _ stream: LinkStream
  ) async throws {
    var metadata = Metadata()
    if let token = configuration.token() { metadata.addString("Bearer \(token)", forKey: "authorization") }
    var options = CallOptions.defaults
    options.waitForReady = false
    options.maxResponseMessageBytes = ProtocolLimits.messageBytes
    let coordination = WireCoordination.Client(wrapping: client)
    try await coordination.join(metadata: metadata, options: options) { writer in
      try await self.write(stream, writer)
    } onResponse: { response in
      for try await message in response.messages {
        try self.read(message, stream)
      }
    }
  }

  private func write(_ stream: LinkStream, _ writer: RPCWriter<WireWorkerMessage>) async throws {
    var hello = core.withLock { $0.state.hello(now: clock.now) }
    hello.drain = standingDrain()
    var first = WireWorkerMessage()
    first.hello = stream.wire(hello, now: clock.now)
    try await writer.write(first)
    while true {
      try await outgoing.wait()
      while let frame = core.withLock({ $0.state.takeOutgoing(now: clock.now) }) {
        var message = WireWorkerMessage()
        message.frame = stream.wire(frame, now: clock.now)
        try await writer.write(message)
      }
      try await clock.sleep(until: clock.now + configuration.batch)
    }
  }

  private func read(_ message: WireCoordinatorMessage, _ stream: LinkStream) throws {
    let now = clock.now
    switch message.body {
    case .welcome(let wire):
      guard stream.welcome() else { throw ProtocolViolation.helloTwice }
      let welcome = try CoordinatorWelcome(validating: wire)
      core.withLock { $0.state.welcomed(welcome, now: now) }
      outgoing.signal()
    case .frame(let wire):
      guard stream.isWelcome else { throw ProtocolViolation.helloExpected }
      let frame = try stream.read(wire)
      resolve(core.withLock { $0.state.received(frame, now: now) })
    // A kind of message that this version doesn't know.
    case nil: return
    }
    wake.signal()
  }
}

private struct LinkFailure: Error {
  var wasConnected: Bool
  var cause: any Error
}
