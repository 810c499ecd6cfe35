package import Logging
package import NIOCore
import NIOPosix
import NIOSSL
import ServiceLifecycle
import Synchronization

/// A client of NATS: one connection at a time to one of the servers, for any number of tasks.
///
/// `run()` has to run somewhere, in a task group or a `ServiceGroup`; it connects, and connects again. Everything else can be called from any
/// task, before the first connection too: what is published then waits in a bounded buffer.
///
/// Promises: the core protocol delivers at most once. What was handed to a connection that broke may be lost; what still waited in the
/// client is sent on the next one. Requests in flight on a broken connection fail at once with `connectionLost`.
package final class NATSClient: Service, Sendable {
  package let configuration: NATSConfiguration
  let logger: Logger
  /// The loop of the connection; its clock is the client's.
  package let eventLoop: any EventLoop
  let state: Mutex<ClientState>
  private let attention = Attention()

  /// A client that isn't running yet.
  package init(
    _ configuration: NATSConfiguration, eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    logger: Logger = Logger(label: "nats") { _ in SwiftLogNoOpLogHandler() }
  ) {
    self.configuration = configuration
    self.logger = logger
    eventLoop = eventLoopGroup.next()
    var random = SeededRandom(seed: configuration.randomSeed ?? UInt64.random(in: .min ... .max))
    let prefix = "_INBOX.\(random.name(length: 22))"
    state = Mutex(
      ClientState(machine: ConnectionMachine(configuration, random: random), inboxPrefix: prefix))
  }

  /// Counters.
  package var statistics: NATSStatistics { state.withLock { $0.statistics } }
  /// What the server in use says of itself; nil while there is none.
  package var serverInfo: ServerInfo? { state.withLock { $0.link == nil ? nil : $0.info } }
  /// The server in use.
  package var server: NATSEndpoint? { state.withLock { $0.link?.endpoint } }
  /// The servers that are known, in the order in which they would be tried.
  package var knownServers: [NATSEndpoint] { state.withLock { $0.machine.pool.endpoints } }

  // MARK: Running

  /// Keeps a connection until the task is cancelled or shut down gracefully, which sends what was published and lets subscriptions end.
  ///
  /// - Throws: `NATSError` where trying on makes no sense: refused credentials, unreadable certificates, attempts used up.
  package func run() async throws {
    let isFirst = state.withLock { state in
      defer { state.didRun = true }
      return !state.didRun
    }
    guard isFirst else { throw NATSError(.invalidArgument, "run() was called before; make a new client") }
    try await withTaskCancellationHandler {
      try await withGracefulShutdownHandler {
        try await connectAndAgain()
      } onGracefulShutdown: {
        self.drain()
      }
    } onCancel: {
      self.stop()
    }
  }

  private func connectAndAgain() async throws {
    let tls: NIOSSLContext
    do throws(NATSError) {
      tls = try (configuration.tls ?? NATSTLS()).makeContext()
    } catch {
      stop()
      end()
      throw error
    }
    while true {
      switch state.withLock({ $0.machine.step(now: eventLoop.now) }) {
      case .dial(let attempt): await dial(attempt, tls)
      case .wait(let until): await attention.wait(until: until, on: eventLoop)
      case .finished:
        end()
        if let failure = state.withLock({ $0.machine.failure }) { throw failure }
        return
      }
    }
  }

  private func dial(_ attempt: ConnectionMachine.Attempt, _ tls: NIOSSLContext) async {
    let isSecure = configuration.tls?.handshakeFirst ?? false
    let link = Link(attempt: attempt, client: self, eventLoop: eventLoop, tls: tls, isSecure: isSecure)
    do {
      let bootstrap = ClientBootstrap(group: eventLoop)
        .connectTimeout(.nanoseconds(configuration.connectTimeout.nanoseconds))
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .channelOption(.maxMessagesPerRead, value: 8)
        .channelOption(
          .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 4096, initial: 65536, maximum: 262144)
        )
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            if isSecure {
              try channel.pipeline.syncOperations.addHandler(Link.makeTLSHandler(tls, attempt.endpoint))
            }
            try channel.pipeline.syncOperations.addHandler(link)
          }
        }
      let isWanted = state.withLock { state in
        state.dialing = link
        return !state.machine.isEnded
      }
      guard isWanted else { return }
      _ = try await bootstrap.connect(host: attempt.endpoint.host, port: attempt.endpoint.port).get()
      try await link.outcome.get()
    } catch {
      link.abandon()
      let reason =
        error as? NATSError
        ?? NATSError(.connectTimeout, "\(attempt.endpoint) can't be reached", cause: error)
      logger.debug(
        "connect failed", metadata: ["nats.server": "\(attempt.endpoint)", "nats.error": "\(reason)"])
      state.withLock { $0.machine.dialFailed(attempt.id, reason) }
    }
    state.withLock { if $0.dialing === link { $0.dialing = nil } }
  }

  /// Ends the client now.
  package func stop() {
    let links = state.withLock { state in
      state.machine.stop()
      return [state.link, state.leaving, state.dialing]
    }
    for link in links { link?.close(.closed) }
    attention.signal()
  }

  /// Ends the subscriptions, lets everything that was published reach the server, and then ends the client.
  package func drain() {
    let flush = state.withLock { state -> Link?? in
      if state.leaving != nil, state.link != nil {
        state.drainsAfterMove = true
        return .some(nil)
      }
      guard state.isConnected, !state.isDraining else { return .none }
      state.isDraining = true
      for (sid, entry) in state.registry.entries {
        if case .queue = entry.sink { ProtocolEncoder.unsubscribe(sid: sid, into: &state.out.pending) }
      }
      state.ping(.drain)
      return .some(state.scheduleFlush())
    }
    guard let flush else { return stop() }
    flush?.scheduleFlush()
    eventLoop.scheduleTask(in: .nanoseconds(configuration.drainTimeout.nanoseconds)) { self.stop() }
  }

  /// Everybody who waits gets to know.
  private func end() {
    let (links, queues, answers, pongs, rooms, error) = state.withLock { state in
      let queues = state.registry.entries.values.compactMap { entry -> SubscriptionQueue? in
        if case .queue(let queue) = entry.sink { queue } else { nil }
      }
      state.registry = SubscriptionRegistry()
      defer {
        state.pongs = []
        state.leavingPongs = []
      }
      return (
        [state.link, state.leaving], queues, state.requests.takeAll(), state.pongs + state.leavingPongs,
        state.out.takeWaiters(), state.machine.failure
      )
    }
    for link in links { link?.close(.closed) }
    for queue in queues { queue.finish(error) }
    for answer in answers { answer.resume(throwing: error ?? .closed) }
    for case .flush(_, let waiter?) in pongs { waiter.resume(throwing: error ?? .closed) }
    for room in rooms { room.resume() }
  }

  func signal() { attention.signal() }
}

/// Runs a client around a body: for tools and tests. A service gives the client to its `ServiceGroup` instead.
package func withNATSClient<Result: Sendable>(
  _ configuration: NATSConfiguration, logger: Logger = Logger(label: "nats") { _ in SwiftLogNoOpLogHandler() },
  _ body: (NATSClient) async throws -> Result
) async throws -> Result {
  let client = NATSClient(configuration, logger: logger)
  return try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { try await client.run() }
    do {
      let result = try await body(client)
      client.drain()
      try await group.waitForAll()
      return result
    } catch {
      client.stop()
      // Where `run()` failed, its error is the cause, not that of the body that met a closed client.
      do { try await group.waitForAll() } catch let cause as NATSError where (error as? NATSError)?.code == .closed {
        throw cause
      } catch {}
      throw error
    }
  }
}
