import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// The connections to the API that live on one event loop: busy ones, and those that wait for the next request.
///
/// What was used last is used next, so that connections which aren't needed any more grow old and are closed.
final class UpstreamPool {
  private let loop: any EventLoop
  private let address: UpstreamAddress
  private let security: UpstreamSecurity?
  private let limits: UpstreamLimits
  /// All that are open.
  private var connections: [ObjectIdentifier: UpstreamConnection] = [:]
  /// Those without an exchange, in the order in which they became idle.
  private var idle: [UpstreamConnection] = []
  private var expiry: Scheduled<Void>?
  private var isClosed = false

  init(loop: any EventLoop, address: UpstreamAddress, security: UpstreamSecurity?, limits: UpstreamLimits) {
    self.loop = loop
    self.address = address
    self.security = security
    self.limits = limits
  }

  /// Sends a request over an idle connection, or over a new one.
  func start(_ exchange: UpstreamExchange, fresh: Bool = false) {
    guard !isClosed else { return exchange.fail(UpstreamError.shutDown) }
    guard exchange.isOpen else { return }
    guard !fresh, let connection = idle.popLast() else { return connect(for: exchange) }
    connection.send(exchange)
  }

  /// Ends all connections, and all exchanges with them.
  func close() {
    isClosed = true
    expiry?.cancel()
    expiry = nil
    for connection in connections.values { connection.close() }
  }

  // MARK: Connections

  private func connect(for exchange: UpstreamExchange) {
    guard let security else { return connect(for: exchange, nil) }
    security.context(on: loop).assumeIsolated().whenComplete { result in
      switch result {
      case .success(let context): self.connect(for: exchange, context)
      case .failure(let error): exchange.fail(error)
      }
    }
  }

  private func connect(for exchange: UpstreamExchange, _ context: NIOSSLContext?) {
    let pool = NIOLoopBound(self, eventLoop: loop)
    let (serverName, limit) = (address.serverName, limits.connecting)
    ClientBootstrap(group: loop)
      .connectTimeout(limit)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let handlers = channel.pipeline.syncOperations
          if let context { try handlers.addHandler(NIOSSLClientHandler(context: context, serverHostname: serverName)) }
          try handlers.addHTTPClientHandlers()
          try handlers.addHandler(UpstreamConnection(pool: pool.value))
        }
      }
      .connect(host: address.host, port: address.port)
      .assumeIsolated().whenComplete { result in
        do {
          let connection = try result.get().pipeline.syncOperations.handler(type: UpstreamConnection.self)
          if context != nil { connection.limitHandshake(to: limit) }
          guard !self.isClosed else {
            connection.close()
            return exchange.fail(UpstreamError.shutDown)
          }
          connection.send(exchange)
        } catch {
          exchange.fail(error)
        }
      }
  }

  /// Notes a new connection.
  func add(_ connection: UpstreamConnection) {
    connections[ObjectIdentifier(connection)] = connection
  }

  /// Forgets one that has ended.
  func remove(_ connection: UpstreamConnection) {
    connections[ObjectIdentifier(connection)] = nil
    idle.removeAll { $0 === connection }
  }

  /// Takes one back that is free.
  func putBack(_ connection: UpstreamConnection) {
    guard !isClosed else { return connection.close() }
    connection.rest()
    idle.append(connection)
    if expiry == nil { expire(in: limits.idle) }
  }

  // MARK: Age

  private func expire(in time: TimeAmount) {
    expiry = loop.assumeIsolated().scheduleTask(in: time) { self.closeOld() }
  }

  private func closeOld() {
    expiry = nil
    let limit = NIODeadline.now() - limits.idle
    let old = idle.prefix { $0.idleSince <= limit }
    idle.removeFirst(old.count)
    for connection in old { connection.close() }
    if let next = idle.first { expire(in: next.idleSince - limit) }
  }
}
