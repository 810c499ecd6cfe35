import NIOCore
import NIOSSL
import NIOTLS
import Synchronization

/// One connection: parser and handshake on its event loop. It belongs to one `NATSClient`, which outlives it.
// Sendable: every stored `var` is touched only on the channel's event loop, on which NIO calls a handler and to which `flush`,
// `close` and `resume` hop; the rest is constant or a Mutex.
final class Link: ChannelDuplexHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  let id: Int
  let endpoint: NATSEndpoint
  let eventLoop: any EventLoop
  private let client: NATSClient
  private let tls: NIOSSLContext?
  private let ready: EventLoopPromise<Void>
  private var parser: ProtocolParser
  private var handshake: Handshake
  private var isReady = false
  private var isClosed = false
  private var failure: NATSError?
  private var context: ChannelHandlerContext?
  private var operations: [ServerOperation] = []
  private var pauses = 0
  private var wantsRead = false
  private var watchdog: RepeatedTask?
  private var handshakeTimer: Scheduled<Void>?
  private let deadline: NIODeadline

  init(
    attempt: ConnectionMachine.Attempt, client: NATSClient, eventLoop: any EventLoop, tls: NIOSSLContext?,
    isSecure: Bool
  ) {
    id = attempt.id
    endpoint = attempt.endpoint
    deadline = attempt.deadline
    self.client = client
    self.eventLoop = eventLoop
    self.tls = tls
    ready = eventLoop.makePromise()
    parser = ProtocolParser(limits: client.configuration.parserLimits)
    handshake = Handshake(client.configuration, endpoint: attempt.endpoint, isSecure: isSecure)
  }

  /// When the handshake is done, or why it isn't.
  var outcome: EventLoopFuture<Void> { ready.futureResult }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    // The client ended while the channel was made.
    if failure != nil { return context.close(promise: nil) }
    handshakeTimer = eventLoop.scheduleTask(deadline: deadline) {
      if !self.isReady {
        self.fail(NATSError(.connectTimeout, "\(self.endpoint) didn't finish the handshake in time"))
      }
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    closed()
  }

  func channelInactive(context: ChannelHandlerContext) {
    closed()
    context.fireChannelInactive()
  }

  private func closed() {
    guard !isClosed else { return }
    isClosed = true
    watchdog?.cancel()
    handshakeTimer?.cancel()
    let error = failure ?? NATSError(.connectionLost, "\(endpoint) closed the connection")
    ready.fail(error)
    client.closed(self, error)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    let isTLS = error is NIOSSLError || error is BoringSSLError || error is NIOSSLExtraError
    if isTLS, case .uncleanShutdown? = error as? NIOSSLError, isReady {
      fail(NATSError(.connectionLost, "the connection to \(endpoint) broke", cause: error))
    } else if isTLS {
      fail(
        NATSError(
          .tlsFailed, "TLS with \(endpoint) failed; check the CA, the host name and the certificates", cause: error))
    } else {
      fail(NATSError(.connectionLost, "the connection to \(endpoint) broke", cause: error))
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted? = event as? TLSUserEvent {
      perform { () throws(NATSError) in try self.handshake.secured() }
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// Ends the connection for a reason.
  func fail(_ error: NATSError) {
    if failure == nil { failure = error }
    context?.close(promise: nil)
  }

  /// The attempt is over: nobody waits for it, and a channel that came too late goes.
  func abandon() {
    eventLoop.execute {
      self.fail(.closed)
      self.ready.fail(NATSError.closed)
    }
  }

  /// Ends it from anywhere.
  func close(_ error: NATSError) { eventLoop.execute { self.fail(error) } }

  // MARK: Reading

  func read(context: ChannelHandlerContext) {
    if pauses > 0 { wantsRead = true } else { context.read() }
  }

  func pause() { pauses += 1 }

  func resume() {
    eventLoop.execute {
      self.pauses -= 1
      if self.pauses == 0, self.wantsRead {
        self.wantsRead = false
        self.context?.read()
      }
    }
  }

  var isPaused: Bool { pauses > 0 }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data)
    operations.removeAll(keepingCapacity: true)
    var broken: NATSProtocolError?
    do throws(NATSProtocolError) {
      try parser.parse(bytes, into: &operations)
    } catch {
      broken = error
    }
    var next = 0
    while !isReady, next < operations.count, failure == nil {
      let operation = operations[next]
      next += 1
      perform { () throws(NATSError) in try self.handshake.received(operation) }
    }
    if isReady, next < operations.count, failure == nil {
      client.received(self, operations[next...])
    }
    if let broken {
      fail(NATSError(.protocolViolation, "\(endpoint) sent bytes that aren't NATS's protocol", cause: broken))
    }
  }

  private func perform(_ step: () throws(NATSError) -> Handshake.Action) {
    do throws(NATSError) {
      switch try step() {
      case .startTLS:
        // Bytes in the clear behind INFO would be taken for the server's words under TLS.
        guard parser.bufferedBytes == 0 else {
          throw NATSError(
            .protocolViolation, "\(endpoint) sent more than INFO before TLS",
            cause: NATSProtocolError.unexpectedHandshake)
        }
        try startTLS()
      case .send(let buffer):
        context?.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
      case .ready(let info): becomeReady(info)
      case .none: break
      }
    } catch {
      fail(error)
    }
  }

  private func startTLS() throws(NATSError) {
    guard let context, let tls else { throw NATSError(.tlsFailed, "no TLS is configured") }
    do {
      let handler = try Self.makeTLSHandler(tls, endpoint)
      try context.pipeline.syncOperations.addHandler(handler, position: .first)
    } catch {
      throw NATSError(.tlsFailed, "TLS with \(endpoint) couldn't be started", cause: error)
    }
  }

  static func makeTLSHandler(_ tls: NIOSSLContext, _ endpoint: NATSEndpoint) throws -> NIOSSLClientHandler {
    let name = endpoint.certificateName ?? endpoint.host
    // SNI takes no addresses; the certificate's addresses are checked against the peer's by itself.
    let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
    return try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : name)
  }

  private func becomeReady(_ info: ServerInfo) {
    isReady = true
    handshakeTimer?.cancel()
    let interval = TimeAmount.nanoseconds(client.configuration.pingInterval.nanoseconds)
    watchdog = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
      // Nothing is read while a slow consumer pauses the connection, so silence proves nothing.
      if !self.isPaused { self.client.tick(self) }
    }
    client.ready(self, info)
    ready.succeed()
  }

  // MARK: Writing

  /// Hops to the event loop once for all that was written in the meantime.
  func scheduleFlush() { eventLoop.execute { self.flush() } }

  func flush() {
    guard let chunk = client.takeOutbound(self) else { return }
    write(chunk)
  }

  private func write(_ chunk: ByteBuffer) {
    guard let context else { return }
    let promise = eventLoop.makePromise(of: Void.self)
    promise.futureResult.whenSuccess {
      if let next = self.client.wrote(self, chunk) { self.eventLoop.execute { self.write(next) } }
    }
    context.writeAndFlush(wrapOutboundOut(chunk), promise: promise)
  }

  /// Bytes beside the client's own: what a link that is being left still says.
  func send(_ buffer: ByteBuffer) { context?.writeAndFlush(wrapOutboundOut(buffer), promise: nil) }
}
