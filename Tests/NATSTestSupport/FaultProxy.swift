import NATSClient
import NIOCore
import NIOPosix
import Synchronization

/// A way to a server that misbehaves by a seed: bytes come in small pieces, and connections break anywhere, in frames too.
package final class FaultProxy: Sendable {
  private struct State {
    var random: SeededRandom
    var open: [ObjectIdentifier: any Channel] = [:]
    var isFaulty = true
    var breaks = 0
  }

  private let state: Mutex<State>
  private let target: Int
  private let listener = Mutex<(any Channel)?>(nil)
  /// Bytes after which a connection breaks, at most.
  private let maximumBytes: Int

  package init(to port: Int, seed: UInt64, maximumBytes: Int) async throws {
    target = port
    self.maximumBytes = maximumBytes
    state = Mutex(State(random: SeededRandom(seed: seed)))
    let group = MultiThreadedEventLoopGroup.singleton
    let channel = try await ServerBootstrap(group: group)
      .childChannelOption(.maxMessagesPerRead, value: 1)
      .childChannelInitializer { inbound in
        // Nothing is read before the other side is there.
        inbound.setOption(.autoRead, value: false).flatMap {
          ClientBootstrap(group: inbound.eventLoop).channelOption(.autoRead, value: false)
            .connect(host: "127.0.0.1", port: port)
        }.flatMap { outbound in
          self.join(inbound, outbound)
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    listener.withLock { $0 = channel }
  }

  package var url: String { "nats://127.0.0.1:\(listener.withLock { $0?.localAddress?.port ?? 0 })" }
  package var breaks: Int { state.withLock { $0.breaks } }

  /// From now on everything passes.
  package func calm() { state.withLock { $0.isFaulty = false } }

  package func close() async throws {
    try await listener.withLock { $0 }?.close()
    for channel in state.withLock({ Array($0.open.values) }) { try? await channel.close() }
  }

  private func join(_ inbound: any Channel, _ outbound: any Channel) -> EventLoopFuture<Void> {
    let budget = state.withLock { state in
      state.open[ObjectIdentifier(inbound)] = inbound
      return state.isFaulty ? Int.random(in: 1...maximumBytes, using: &state.random) : Int.max
    }
    inbound.closeFuture.whenComplete { _ in
      self.state.withLock { $0.open[ObjectIdentifier(inbound)] = nil }
      outbound.close(promise: nil)
    }
    outbound.closeFuture.whenComplete { _ in inbound.close(promise: nil) }
    return inbound.eventLoop.makeCompletedFuture {
      let left = Budget(budget)
      try inbound.pipeline.syncOperations.addHandler(Relay(self, outbound, left))
      try outbound.pipeline.syncOperations.addHandler(Relay(self, inbound, left))
    }.flatMap { inbound.setOption(.autoRead, value: true) }.flatMap { outbound.setOption(.autoRead, value: true) }
  }

  /// How a part travels: in pieces of these sizes; whether the connection breaks behind it.
  fileprivate func pass(_ count: Int, _ budget: Budget) -> (pieces: [Int], breaks: Bool) {
    state.withLock { state in
      guard state.isFaulty else { return ([count], false) }
      let allowed = min(count, budget.take(count))
      var pieces: [Int] = []
      var left = allowed
      while left > 0, pieces.count < 8 {
        let piece = Int.random(in: 1...max(1, min(left, 700)), using: &state.random)
        pieces.append(piece)
        left -= piece
      }
      if left > 0 { pieces.append(left) }
      if allowed < count { state.breaks += 1 }
      return (pieces, allowed < count)
    }
  }

  fileprivate final class Budget: Sendable {
    private let left: Mutex<Int>
    init(_ bytes: Int) { left = Mutex(bytes) }
    func take(_ count: Int) -> Int {
      left.withLock { left in
        let taken = min(left, count)
        left -= taken
        return taken
      }
    }
  }

  private final class Relay: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let proxy: FaultProxy
    private let other: any Channel
    private let budget: Budget

    init(_ proxy: FaultProxy, _ other: any Channel, _ budget: Budget) {
      self.proxy = proxy
      self.other = other
      self.budget = budget
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var buffer = unwrapInboundIn(data)
      let (pieces, breaks) = proxy.pass(buffer.readableBytes, budget)
      for piece in pieces {
        if let part = buffer.readSlice(length: piece) { other.writeAndFlush(part, promise: nil) }
      }
      if breaks { context.close(promise: nil) }
    }
  }
}
