import NIOCore
import NIOHTTP1
import NIOPosix

/// One part of a round: a load on one port.
struct Part: Sendable {
  /// What is sent.
  enum Kind: Sendable {
    /// So many requests per second over so many connections.
    case requests(rate: Int, connections: Int)
    /// So many streams at a time, each followed by the next.
    case events(streams: Int, shape: StreamShape)

    /// How many connections that takes.
    var connections: Int {
      switch self {
      case .requests(_, let connections): connections
      case .events(let streams, _): streams
      }
    }
  }

  var kind: Kind
  var port: Int
  var bodyBytes: Int
  var discard: Int
  var seconds: Int

  /// Opens the connections, loads, and closes them.
  func run(on loop: any EventLoop) async throws -> PartResult {
    let channels = try await withThrowingTaskGroup(of: (any Channel).self) { group in
      for _ in 0..<kind.connections {
        group.addTask {
          try await ClientBootstrap(group: loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
              channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                try channel.pipeline.syncOperations.addHandler(ClientHandler())
              }
            }
            .connect(host: "127.0.0.1", port: port).get()
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    let promise = loop.makePromise(of: PartResult.self)
    loop.execute {
      do {
        let handlers = try channels.map { try $0.pipeline.syncOperations.handler(type: ClientHandler.self) }
        PartRun(part: self, handlers: handlers, loop: loop, promise: promise).begin()
      } catch {
        promise.fail(error)
      }
    }
    let result = try await promise.futureResult.get()
    for channel in channels { try? await channel.close() }
    return result
  }

  /// What a request looks like.
  fileprivate var request: (head: HTTPRequestHead, body: ByteBuffer) {
    var headers = HTTPHeaders([
      ("host", "127.0.0.1:\(port)"), ("content-type", "application/json"), ("x-api-key", "none"),
      ("anthropic-version", "2023-06-01"), ("user-agent", "SidecarBenchmarks"),
    ])
    var stream = ""
    if case .events(_, let shape) = kind {
      headers.add(name: StreamShape.eventsHeader, value: String(shape.events))
      headers.add(name: StreamShape.paceHeader, value: String(shape.pace))
      stream = #""stream":true,"#
    }
    let opening =
      #"{"model":"claude-sonnet-4-5","max_tokens":256,\#(stream)"messages":[{"role":"user","content":""#
    let ending = #""}]}"#
    let words = max(0, bodyBytes - opening.utf8.count - ending.utf8.count)
    let body = ByteBuffer(string: opening + String(repeating: "a", count: words) + ending)
    headers.add(name: "content-length", value: String(body.readableBytes))
    return (HTTPRequestHead(version: .http1_1, method: .POST, uri: "/v1/messages", headers: headers), body)
  }
}

/// The state of a running part. Everything happens on one event loop.
private final class PartRun {
  private let part: Part
  private let handlers: [ClientHandler]
  private let loop: any EventLoop
  private let promise: EventLoopPromise<PartResult>
  private let request: (head: HTTPRequestHead, body: ByteBuffer)

  private var result = PartResult()
  private var free: [ClientHandler] = []
  /// When requests were taken up that wait for a connection; those before `served` have one.
  private var waiting: [Int64] = []
  private var served = 0
  private var countsFrom: Int64 = 0
  private var isOver = false

  init(part: Part, handlers: [ClientHandler], loop: any EventLoop, promise: EventLoopPromise<PartResult>) {
    self.part = part
    self.handlers = handlers
    self.loop = loop
    self.promise = promise
    request = part.request
  }

  func begin() {
    let now = NIODeadline.now()
    countsFrom = monotonicNanoseconds() + Int64(part.discard) * 1_000_000_000
    for handler in handlers {
      handler.onEvent = { [self] sent in if sent >= countsFrom { note(monotonicNanoseconds() - sent) } }
      handler.onEnd = { [self] isGood in end(handler, isGood: isGood) }
    }
    switch part.kind {
    case .requests(let rate, _):
      free = handlers
      tick(at: now, every: .nanoseconds(1_000_000_000 / Int64(rate)))
    case .events(_, let shape):
      // Evenly over the interval between two events of a stream, or all events would come together.
      for (index, handler) in handlers.enumerated() {
        let offset = shape.interval.nanoseconds * Int64(index) / Int64(handlers.count)
        after(now + .nanoseconds(offset)) { handler.send(self.request, takenUp: monotonicNanoseconds()) }
      }
    }
    after(now + .seconds(Int64(part.discard + part.seconds))) {
      self.isOver = true
      self.promise.succeed(self.result)
    }
  }

  private func after(_ deadline: NIODeadline, _ body: @escaping () -> Void) {
    _ = loop.assumeIsolated().scheduleTask(deadline: deadline, body)
  }

  private func tick(at due: NIODeadline, every interval: TimeAmount) {
    after(due) { [self] in
      guard !isOver else { return }
      let now = monotonicNanoseconds()
      if now >= countsFrom { result.lateness.append(now - Int64(due.uptimeNanoseconds)) }
      waiting.append(now)
      serve()
      tick(at: due + interval, every: interval)
    }
  }

  private func serve() {
    while served < waiting.count, let handler = free.popLast() {
      handler.send(request, takenUp: waiting[served])
      served += 1
    }
  }

  private func end(_ handler: ClientHandler, isGood: Bool) {
    guard !isOver else { return }
    if !isGood { result.errors += 1 }
    // A connection that broke isn't used again.
    guard handler.isOpen else { return }
    switch part.kind {
    case .requests:
      if isGood, handler.takenUp >= countsFrom { note(monotonicNanoseconds() - handler.takenUp) }
      free.append(handler)
      serve()
    case .events: handler.send(request, takenUp: monotonicNanoseconds())
    }
  }

  private func note(_ latency: Int64) {
    if !isOver { result.latencies.append(latency) }
  }
}

/// One connection of the load: sends a request, and tells when its events and its end have come.
private final class ClientHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  private static let mark = Array(StreamShape.mark.utf8)

  /// Called with the moment of sending of each event that tells one.
  var onEvent: (Int64) -> Void = { _ in }
  /// Called when an answer is complete or has broken off; whether it was complete and a 200.
  var onEnd: (_ isGood: Bool) -> Void = { _ in }
  /// When the request on its way was taken up.
  private(set) var takenUp: Int64 = 0
  /// Whether the connection stands.
  private(set) var isOpen = true

  private var context: ChannelHandlerContext?
  private var isGood = false
  private var isBusy = false
  private var isStream = false
  private var text = ByteBuffer()

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func send(_ request: (head: HTTPRequestHead, body: ByteBuffer), takenUp: Int64) {
    guard let context, isOpen else { return }
    self.takenUp = takenUp
    isBusy = true
    context.write(wrapOutboundOut(.head(request.head)), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(request.body))), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      isGood = head.status == .ok
      isStream = head.headers.first(name: "content-type")?.hasPrefix("text/event-stream") == true
      text.clear()
    case .body(var part):
      guard isStream else { return }
      text.writeBuffer(&part)
      takeEvents()
    case .end:
      isBusy = false
      onEnd(isGood)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    isOpen = false
    if isBusy { onEnd(false) }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.close(promise: nil)
  }

  /// Takes whole events out of the text.
  private func takeEvents() {
    while let end = text.readableBytesView.firstRange(of: [0x0A, 0x0A]) {
      let count = end.upperBound - text.readerIndex
      guard let event = text.readSlice(length: count)?.readableBytesView else { return }
      guard let mark = event.firstRange(of: Self.mark) else { continue }
      var sent: Int64 = 0
      for digit in event[mark.upperBound...].prefix(while: { (0x30...0x39).contains($0) }) {
        sent = sent * 10 + Int64(digit - 0x30)
      }
      onEvent(sent)
    }
    text.discardReadBytes()
  }
}
