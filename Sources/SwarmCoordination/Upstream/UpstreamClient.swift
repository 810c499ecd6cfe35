package import NIOCore
import NIOHTTP1
import NIOPosix
package import NIOSSL
import Synchronization

/// How long connections to the API live.
package struct UpstreamLimits: Hashable, Sendable {
  /// How long an idle connection is kept.
  package var idle: TimeAmount
  /// How long connecting may take, and after it agreeing upon TLS.
  package var connecting: TimeAmount

  /// Makes limits. The API closes what is idle for a minute; a connection that is closed while a request goes out costs
  /// one more round trip.
  package init(idle: TimeAmount = .seconds(55), connecting: TimeAmount = .seconds(10)) {
    self.idle = idle
    self.connecting = connecting
  }
}

/// Speaks HTTP/1.1 with the API, and keeps the connections.
///
/// Each event loop has its own: a request that comes on one of the group's event loops goes out on the same, without a
/// change of thread, in one write of head and body. There is no limit of time but for connecting; nothing is decoded, no
/// redirect followed, no failure repeated: the gateway knows better. Benchmarks/README.md says
/// what that saves.
package final class UpstreamClient: Sendable {
  /// Where the API is.
  package let address: UpstreamAddress
  private let group: any EventLoopGroup
  private let pools: [ObjectIdentifier: NIOLoopBoundBox<UpstreamPool>]

  /// Makes a client; it connects when there is something to send. Without a `tls` the system's authorities count.
  package init(
    _ address: UpstreamAddress, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    tls: TLSConfiguration? = nil, limits: UpstreamLimits = UpstreamLimits()
  ) {
    self.address = address
    self.group = group
    let security = address.isSecure ? UpstreamSecurity(tls) : nil
    var pools: [ObjectIdentifier: NIOLoopBoundBox<UpstreamPool>] = [:]
    for loop in group.makeIterator() {
      let pool = UpstreamPool(loop: loop, address: address, security: security, limits: limits)
      pools[ObjectIdentifier(loop)] = NIOLoopBoundBox.makeBoxSendingValue(pool, eventLoop: loop)
    }
    self.pools = pools
  }

  /// Sends a request: at once, where the caller is on an event loop of the group.
  ///
  /// - Parameter isRepeatable: whether it may go out a second time when a kept connection closes before any answer.
  func start(_ head: HTTPRequestHead, body: ByteBuffer?, isRepeatable: Bool) -> UpstreamExchange {
    let exchange = UpstreamExchange(head: head, body: body, isRepeatable: isRepeatable)
    let loop = group.any()
    guard let pool = pools[ObjectIdentifier(loop)] else {
      exchange.fail(UpstreamError.shutDown)
      return exchange
    }
    if loop.inEventLoop {
      pool.value.start(exchange)
    } else {
      loop.execute { pool.value.start(exchange) }
    }
    return exchange
  }

  /// Ends all connections, and what is on its way with them.
  package func shutDown() async {
    for loop in group.makeIterator() {
      guard let pool = pools[ObjectIdentifier(loop)] else { continue }
      try? await loop.submit { pool.value.close() }.get()
    }
  }
}

/// How connections are made secure. Reading the system's authorities takes its time, so that it is done once, when it is
/// needed, and not on an event loop.
final class UpstreamSecurity: Sendable {
  private let configuration: TLSConfiguration
  private let made = Mutex<NIOSSLContext?>(nil)

  init(_ configuration: TLSConfiguration?) {
    var configuration = configuration ?? .makeClientConfiguration()
    configuration.applicationProtocols = ["http/1.1"]
    self.configuration = configuration
  }

  func context(on loop: any EventLoop) -> EventLoopFuture<NIOSSLContext> {
    if let context = made.withLock({ $0 }) { return loop.makeSucceededFuture(context) }
    return NIOThreadPool.singleton.runIfActive(eventLoop: loop) { [self] in
      try made.withLock { made in
        if let made { return made }
        let context = try NIOSSLContext(configuration: configuration)
        made = context
        return context
      }
    }
  }
}
