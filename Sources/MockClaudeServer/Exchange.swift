import MockClaude
import NIOCore
import NIOHTTP1

/// One request and its answer.
struct Exchange {
  let server: MockClaudeServer
  let channel: any Channel
  let outbound: NIOAsyncChannelOutboundWriter<HTTPPart<HTTPResponseHead, ByteBuffer>>
  let request: ReceivedRequest

  private var clock: MockClock { server.clock }

  /// Answers. Returns whether the connection goes on.
  func answer() async throws -> Bool {
    if let text = request.request.header("x-mock-now"), let moment = MockTime(rfc3339: text) {
      clock.advance(to: moment)
    }
    let (message, now) = (request.request, clock.now)
    switch server.withAPI({ $0.respond(to: message, at: now) }) {
    case .complete(let reply): return try await send(reply)
    case .clock(let change): return try await send(server.change(change))
    case .fault(let fault): return try await carryOut(fault)
    case .message(let generation): return try await charging(generation) { try await sendMessage(generation) }
    case .stream(let generation): return try await charging(generation) { try await sendStream(generation) }
    }
  }

  /// Whatever way an answer ends, the engine learns of it; for one that is complete this changes nothing.
  private func charging(_ generation: Generation, _ body: () async throws -> Bool) async throws -> Bool {
    defer {
      let now = clock.now
      server.withAPI { $0.engine.disconnect(generation.number, at: now) }
    }
    return try await body()
  }

  // MARK: Whole responses

  private func head(_ reply: HTTPReply) -> HTTPResponseHead {
    var headers = HTTPHeaders()
    for field in reply.headers { headers.add(name: field.name, value: field.value) }
    if !request.isKeepAlive { headers.add(name: "connection", value: "close") }
    return HTTPResponseHead(version: request.version, status: .init(statusCode: reply.status), headers: headers)
  }

  private func send(_ reply: HTTPReply) async throws -> Bool {
    var head = head(reply)
    head.headers.replaceOrAdd(name: "content-length", value: String(reply.body.utf8.count))
    try await outbound.write(.head(head))
    // An empty answer to HEAD still says how long it would be.
    if request.request.method != "HEAD", !reply.body.isEmpty {
      try await outbound.write(.body(ByteBuffer(string: reply.body)))
    }
    try await outbound.write(.end(nil))
    return request.isKeepAlive
  }

  private func sendMessage(_ generation: Generation) async throws -> Bool {
    try await clock.sleep(until: generation.endsAt)
    switch generation.fault?.inStream?.fault {
    case .reset, .resetAfterHeaders: return try await reset()
    case .stall: return try await stall()
    case .close: return false
    case .error, .errorAtOnce, .endWithoutStop, nil:
      let now = clock.now
      return try await send(server.withAPI { $0.finish(generation, at: now) })
    }
  }

  // MARK: Streams

  private func sendStream(_ generation: Generation) async throws -> Bool {
    try await clock.sleep(until: generation.startsAt)
    var now = clock.now
    let (reply, script) = server.withAPI { [now] in $0.begin(generation, at: now) }
    let split = server.withAPI { $0.engine.configuration.stream.splitBytes }
    var head = head(reply)
    // Without a length the encoder would chunk for HTTP/1.1 by itself; saying so keeps older clients right, too.
    if request.speaksChunks { head.headers.replaceOrAdd(name: "transfer-encoding", value: "chunked") }
    try await outbound.write(.head(head))
    for frame in script.frames {
      try await clock.sleep(until: frame.time)
      now = clock.now
      if case .cut = server.withAPI({ [now] in $0.engine.progress(of: generation.number, at: now) }) {
        let event = server.withAPI { $0.cutEvent }
        try await outbound.write(.body(ByteBuffer(string: event)))
        try await outbound.write(.end(nil))
        return request.isKeepAlive
      }
      for piece in frame.pieces(of: split) { try await outbound.write(.body(ByteBuffer(bytes: piece))) }
    }
    switch script.ending {
    case .complete:
      try await outbound.write(.end(nil))
      return request.isKeepAlive && request.speaksChunks
    case .reset: return try await reset()
    case .stall: return try await stall()
    case .close: return try await closeHard()
    }
  }

  // MARK: Faults

  private func carryOut(_ fault: Fault) async throws -> Bool {
    if case .stallBeforeHeaders = fault { return try await stall() }
    return try await reset()
  }

  /// Closes with a reset instead of a FIN.
  private func reset() async throws -> Bool {
    try await (channel as? any SocketOptionProvider)?.setSoLinger(SystemTime.resetOnClose).get()
    return try await closeHard()
  }

  /// Closes without ending the response.
  private func closeHard() async throws -> Bool {
    try await channel.close(mode: .all)
    return false
  }

  /// Waits until the client gives up: the cancellation of its connection ends this.
  private func stall() async throws -> Bool {
    try await clock.sleep(until: MockTime(nanoseconds: .max))
    return false
  }
}
