import ArgumentParser
import NIOCore
import NIOPosix

/// `relay`: passes bytes on, and nothing else: what any process in between costs on this machine.
struct RelayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "relay",
    abstract: "Pass bytes on to a port of loopback, until the process is ended: a sidecar that does nothing.")

  @Option(help: "The port to listen on.")
  var port: Int
  @Option(help: "The port to which everything goes.")
  var to: Int

  func run() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let channel = try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1_024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { [to] inbound in
        ClientBootstrap(group: inbound.eventLoop)
          .channelOption(.tcpOption(.tcp_nodelay), value: 1)
          .channelInitializer { outbound in outbound.pipeline.addHandler(RelayHandler(peer: inbound)) }
          .connect(host: "127.0.0.1", port: to)
          .flatMap { outbound in inbound.pipeline.addHandler(RelayHandler(peer: outbound)) }
      }
      .bind(host: "127.0.0.1", port: port).get()
    try await channel.closeFuture.get()
  }
}

/// Writes to the other connection what comes on its own.
private final class RelayHandler: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  private let peer: any Channel

  init(peer: any Channel) {
    self.peer = peer
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    peer.write(unwrapInboundIn(data), promise: nil)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    peer.flush()
  }

  func channelInactive(context: ChannelHandlerContext) {
    peer.close(promise: nil)
  }
}
