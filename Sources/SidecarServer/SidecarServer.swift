package import CoordinationAPI
package import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
package import SwarmCoordination

/// The Claude API on loopback, within the budget: a transparent proxy before a `ClaudeGateway`.
///
/// A worker needs nothing but `ANTHROPIC_BASE_URL`. Requests and answers pass byte for byte; streams go event by event,
/// as fast as the client reads; a client that goes away takes its request upstream with it.
package final class SidecarServer: Sendable {
  typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, ResponsePart>

  /// How the server works.
  package struct Configuration: Sendable {
    /// The address to listen on; anything but loopback would lend the worker's key to the network.
    package var host: String
    /// The port; 0 takes a free one.
    package var port: Int
    /// Silence in a stream after which a ping is put in.
    package var pingAfter: Duration
    /// Largest request body.
    package var maximumBody: Int
    /// How long `/v1/drain` waits unless the request says otherwise.
    package var drainTimeout: Duration
    /// Where health, metrics and drain are served besides, for the kubelet, which asks at the pod's address; never the API.
    /// Nil: nowhere.
    package var kubelet: (host: String, port: Int)?
    /// The queue of tasks behind `/v1/tasks`; nil: there is none.
    package var tasks: TaskRelay?
    /// The engine behind `/v1/state`, `/v1/blobs`, `/v1/counters`, `/v1/schedules` and `/v1/agent-messages`; nil: there is none.
    package var engine: EngineAPI?

    /// Makes a configuration; without arguments that of the design.
    package init(
      host: String = "127.0.0.1", port: Int = 8787, pingAfter: Duration = .seconds(15),
      maximumBody: Int = 32 * 1024 * 1024, drainTimeout: Duration = .seconds(300)
    ) {
      self.host = host
      self.port = port
      self.pingAfter = pingAfter
      self.maximumBody = maximumBody
      self.drainTimeout = drainTimeout
    }
  }

  /// The paths that the kubelet's listener has.
  static let kubeletPaths: Set<Substring> = ["/healthz", "/readyz", "/metrics", "/v1/drain"]

  /// How it works.
  package let configuration: Configuration
  /// The port that was bound.
  package let port: Int
  let gateway: ClaudeGateway
  let pool: AgentPool
  let clock: any CoordinationClock
  let metrics: SidecarMetrics
  let logger: Logger
  private let connections = OpenConnections()
  private let listener: NIOAsyncChannel<any Channel, Never>
  private let kubeletListener: NIOAsyncChannel<any Channel, Never>?
  /// The port that was bound for the kubelet; nil: none.
  package let kubeletPort: Int?

  /// Binds. Nothing is accepted before `run`. `pool` is what the worker says of itself, and its orders to drain.
  package init(
    configuration: Configuration, gateway: ClaudeGateway, pool: AgentPool, clock: any CoordinationClock,
    metrics: SidecarMetrics, logger: Logger
  ) async throws {
    self.configuration = configuration
    self.gateway = gateway
    self.pool = pool
    self.clock = clock
    self.metrics = metrics
    self.logger = logger
    listener = try await Self.bind(configuration.host, configuration.port, connections)
    port = listener.channel.localAddress?.port ?? configuration.port
    guard let kubelet = configuration.kubelet else {
      (kubeletListener, kubeletPort) = (nil, nil)
      return
    }
    do {
      let second = try await Self.bind(kubelet.host, kubelet.port, connections)
      (kubeletListener, kubeletPort) = (second, second.channel.localAddress?.port ?? kubelet.port)
    } catch {
      try? await listener.channel.close()
      throw error
    }
  }

  /// Connections come out as they are, and read nothing until somebody serves them: a wrapped one that nobody came to take,
  /// because the server had just stopped, would end the process.
  private static func bind(
    _ host: String, _ port: Int, _ connections: OpenConnections
  ) async throws -> NIOAsyncChannel<any Channel, Never> {
    try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.autoRead, value: false)
      .bind(host: host, port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          guard connections.add(channel) else { throw ChannelError.ioOnClosedChannel }
          // Requests are taken one by one, so that nobody needs to stop the connection while one is answered; and headers
          // come from a parser or from here.
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(
            withPipeliningAssistance: false, withErrorHandling: true, withOutboundHeaderValidation: false)
          try channel.pipeline.syncOperations.addHandler(ResponsePartHandler())
          return channel
        }
      }
  }

  /// What workers use as `ANTHROPIC_BASE_URL`.
  package var url: String { "http://\(configuration.host):\(port)" }

  /// Serves until `stop` or until the task is cancelled; cancellation breaks off what is being answered.
  package func run() async throws {
    // Whoever was accepted and isn't served any more.
    defer { connections.closeAll() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      if let tasks = configuration.tasks { group.addTask { try await tasks.run() } }
      defer { group.cancelAll() }
      guard let kubeletListener else { return try await accept(listener, forKubelet: false) }
      async let kubelet: Void = accept(kubeletListener, forKubelet: true)
      try await accept(listener, forKubelet: false)
      try await kubelet
    }
  }

  private func accept(_ listener: NIOAsyncChannel<any Channel, Never>, forKubelet: Bool) async throws {
    do {
      try await listener.executeThenClose { channels in
        try await withThrowingDiscardingTaskGroup { group in
          for try await channel in channels {
            // On the connection's own thread: each hop to another one and back costs more than all the work on a request.
            group.addTask(executorPreference: EventLoopTaskExecutor(channel.eventLoop)) {
              await self.serve(channel, forKubelet: forKubelet)
            }
          }
        }
      }
    } catch is CancellationError {}
  }

  /// Takes no new connections, closes idle ones, and lets what is being answered finish: `run` then returns.
  package func stop() {
    pool.close()
    // Streams of events would go on for ever.
    configuration.engine?.endStreams()
    listener.channel.close(mode: .all, promise: nil)
    kubeletListener?.channel.close(mode: .all, promise: nil)
    connections.stop()
  }

  // MARK: Connections

  /// Serves the requests of a connection in turn. A client that goes away cancels what is being answered.
  private func serve(_ channel: any Channel, forKubelet: Bool) async {
    // It may have been closed meanwhile.
    guard let connection = try? await Self.wrap(channel) else { return channel.close(mode: .all, promise: nil) }
    let (closed, whenClosed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    channel.closeFuture.whenComplete { _ in whenClosed.finish() }
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        for await _ in closed {}
      }
      group.addTask {
        // Errors here are connections that broke, by the client or by upstream; the client sees them as they are.
        try? await connection.executeThenClose { inbound, _ in
          var requests = RequestReader(
            inbound: inbound.makeAsyncIterator(), channel: channel, limit: self.configuration.maximumBody)
          while let request = try await requests.next() {
            guard self.connections.mark(channel, isBusy: true) else { return }
            guard try await self.answer(request, on: channel, forKubelet: forKubelet) else { return }
            guard self.connections.mark(channel, isBusy: false) else { return }
          }
        }
      }
      await group.next()
      group.cancelAll()
      // A write that waits for a client that doesn't read ends only so.
      channel.close(mode: .all, promise: nil)
    }
  }

  private func answer(_ request: ReceivedRequest, on channel: any Channel, forKubelet: Bool) async throws -> Bool {
    let exchange = Exchange(server: self, channel: channel, request: request)
    guard forKubelet else { return try await exchange.answer() }
    // Kubelets before 1.25 put a slash before a hook's path, which has one already.
    let path = request.path.hasPrefix("//") ? request.path.dropFirst() : request.path
    guard Self.kubeletPaths.contains(path) else { return try await exchange.refuse() }
    var local = request
    local.head.uri = String(request.head.uri.drop { $0 == "/" })
    local.head.uri = "/" + local.head.uri
    return try await Exchange(server: self, channel: channel, request: local).answer()
  }

  private static func wrap(_ channel: any Channel) async throws -> Connection {
    try await channel.eventLoop.submit {
      guard channel.isActive else { throw ChannelError.ioOnClosedChannel }
      let connection = try Connection(wrappingChannelSynchronously: channel)
      // A channel that has just closed has no options any more; whoever serves it sees that.
      try? channel.syncOptions?.setOption(.autoRead, value: true)
      return connection
    }.get()
  }

  /// Whether the server wants connections to end.
  var isStopping: Bool { connections.isStopping }
}
