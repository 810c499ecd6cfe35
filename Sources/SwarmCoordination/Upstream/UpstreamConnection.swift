import NIOCore
import NIOHTTP1
import NIOTLS

/// One connection to the API: works on one exchange at a time, and returns to its pool in between.
///
/// It lives on its event loop; nothing of it is touched elsewhere.
final class UpstreamConnection: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  private let pool: UpstreamPool
  private var context: ChannelHandlerContext?
  private var exchange: UpstreamExchange?
  /// How many exchanges it has begun.
  private var uses = 0
  private var hasHead = false
  private var isWritten = false
  private var keepsAlive = false
  private var isPaused = false
  private var handshakeLimit: Scheduled<Void>?

  /// Since when it has nothing to do.
  private(set) var idleSince = NIODeadline.now()

  init(pool: UpstreamPool) {
    self.pool = pool
  }

  // MARK: What the pool does

  /// Sends a request: head and body in one write. The connection must be idle, and open.
  func send(_ exchange: UpstreamExchange) {
    guard let context, exchange.attach(context.channel) else { return pool.putBack(self) }
    uses += 1
    (self.exchange, hasHead, isWritten, keepsAlive) = (exchange, false, false, false)
    context.write(wrapOutboundOut(.head(exchange.head)), promise: nil)
    if let body = exchange.body, body.readableBytes > 0 {
      context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
    }
    let use = uses
    let written = context.eventLoop.makePromise(of: Void.self)
    written.futureResult.assumeIsolated().whenComplete { result in
      guard self.uses == use else { return }
      switch result {
      case .success: self.isWritten = true
      case .failure(let error): self.breakOff(error)
      }
    }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
  }

  /// Notes that it has nothing to do.
  func rest() {
    idleSince = .now()
  }

  /// Ends it.
  func close() {
    pool.remove(self)
    context?.close(promise: nil)
  }

  /// Ends it if TLS isn't agreed upon in time.
  func limitHandshake(to limit: TimeAmount) {
    handshakeLimit = context?.eventLoop.assumeIsolated().scheduleTask(in: limit) {
      self.breakOff(UpstreamError.handshakeTimeout)
    }
  }

  // MARK: What comes

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    pool.add(self)
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    handshakeLimit?.cancel()
    pool.remove(self)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard let exchange else { return close() }
    switch unwrapInboundIn(data) {
    case .head(let head):
      guard head.status != .switchingProtocols else { return breakOff(UpstreamError.protocolSwitched) }
      hasHead = true
      keepsAlive = head.isKeepAlive
      exchange.receive(head)
    case .body(let chunk):
      if exchange.receive(chunk) { setReading(false) }
    case .end:
      self.exchange = nil
      exchange.complete()
      // Whoever reads the last exchange may be slow; an idle connection reads, or its end wouldn't be seen.
      if isPaused { setReading(true) }
      // An answer that came before all of the request was sent leaves the connection in the middle of it.
      if keepsAlive, isWritten { pool.putBack(self) } else { close() }
    }
  }

  /// Stops reading, or goes on. Whoever takes the bytes that are too many switches it on again by himself.
  private func setReading(_ reads: Bool) {
    isPaused = !reads
    _ = context?.channel.setOption(ChannelOptions.autoRead, value: reads)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted? = event as? TLSUserEvent { handshakeLimit?.cancel() }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    breakOff(error)
  }

  func channelInactive(context: ChannelHandlerContext) {
    pool.remove(self)
    breakOff(UpstreamError.connectionClosed)
    context.fireChannelInactive()
  }

  /// Ends the connection. A request that a kept connection had no time for goes out again on a fresh one: the API closes
  /// connections that are idle, and doesn't ask whether something is just being sent.
  private func breakOff(_ error: any Error) {
    let exchange = exchange.take()
    close()
    guard let exchange else { return }
    if uses > 1, !hasHead, exchange.isRepeatable, Self.isLost(error) {
      pool.start(exchange, fresh: true)
    } else {
      exchange.fail(error)
    }
  }

  /// Whether an error means that the other side was gone: no byte of an answer has come.
  private static func isLost(_ error: any Error) -> Bool {
    error is IOError || error is ChannelError || error as? UpstreamError == .connectionClosed
  }
}
