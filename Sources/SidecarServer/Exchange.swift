import CoordinationAPI
import Logging
import NIOCore
import NIOHTTP1
import Observability
import RateBudget
import SwarmCoordination

/// One request and its answer.
struct Exchange {
  let server: SidecarServer
  let channel: any Channel
  let request: ReceivedRequest

  /// Answers. Returns whether the connection goes on.
  func answer() async throws -> Bool {
    if request.isTooLarge {
      let limit = server.configuration.maximumBody
      try await send(
        LocalAnswer(
          status: .payloadTooLarge, type: "application/json",
          text: #"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size of "#
            + #"\#(limit) bytes"}}"#),
        closing: true)
      return false
    }
    if EngineAPI.serves(request.path) {
      try await send(try await server.shared(request))
      return !isLast
    }
    if let local = try await server.local(request) {
      do {
        guard channel.isActive || local.handedOut.isEmpty else { throw ChannelError.ioOnClosedChannel }
        try await send(local, closing: isLast)
      } catch {
        if let tasks = server.configuration.tasks, !local.handedOut.isEmpty {
          // Owned: awaited here. This task may be cancelled, because the client is gone.
          await Task { await tasks.takeBack(local.handedOut) }.value
        }
        throw error
      }
      return !isLast
    }
    return try await forward()
  }

  /// Answers that there is nothing here. Returns whether the connection goes on.
  func refuse() async throws -> Bool {
    try await send(
      LocalAnswer(status: .notFound, text: "here are /healthz, /metrics and /v1/drain only\n"), closing: isLast)
    return !isLast
  }

  /// Whether the connection ends with this answer.
  private var isLast: Bool { !request.head.isKeepAlive || server.isStopping }

  /// Whether the client knows chunked bodies: all since HTTP/1.1.
  private var speaksChunks: Bool {
    let version = request.head.version
    return version.major > 1 || (version.major == 1 && version.minor >= 1)
  }

  private func send(_ answer: LocalAnswer, closing: Bool) async throws {
    var headers = HTTPHeaders([("content-type", answer.type)])
    if let seconds = answer.retryAfter { headers.add(name: "retry-after", value: String(seconds)) }
    try await send(answer.status, headers, Array(answer.text.utf8), closing: closing)
  }

  // MARK: What agents share

  private func send(_ answer: EngineAPI.Answer) async throws {
    switch answer {
    case .json(let answer):
      var headers = HTTPHeaders([("content-type", "application/json")])
      if let seconds = answer.retryAfter { headers.add(name: "retry-after", value: String(seconds)) }
      if !answer.allow.isEmpty { headers.add(name: "allow", value: answer.allow.joined(separator: ", ")) }
      try await send(.init(statusCode: answer.status), headers, answer.body, closing: isLast)
    case .bytes(let bytes):
      try await send(.ok, HTTPHeaders([("content-type", "application/octet-stream")]), bytes, closing: isLast)
    case .events(let events):
      let writer = ResponseWriter(channel: channel, clock: server.clock, isEventStream: false)
      var headers = HTTPHeaders([("content-type", "text/event-stream"), ("cache-control", "no-store")])
      if isLast || !speaksChunks { headers.add(name: "connection", value: "close") }
      writer.write(HTTPResponseHead(version: request.head.version, status: .ok, headers: headers))
      let clock = server.clock
      try await events.send(sleep: { try await clock.sleep(until: clock.now + $0) }) {
        try await writer.write(ByteBuffer(bytes: $0), flushing: true)
      }
      try await writer.end()
    }
  }

  private func send(
    _ status: HTTPResponseStatus, _ headers: HTTPHeaders, _ body: [UInt8], closing: Bool
  ) async throws {
    var headers = headers
    headers.add(name: "content-length", value: String(body.count))
    if closing { headers.add(name: "connection", value: "close") }
    let writer = ResponseWriter(channel: channel, clock: server.clock, isEventStream: false)
    writer.write(HTTPResponseHead(version: request.head.version, status: status, headers: headers))
    let hasBody = request.head.method != .HEAD && !body.isEmpty
    try await writer.end(hasBody ? ByteBuffer(bytes: body) : nil)
  }

  // MARK: To the API

  private func forward() async throws -> Bool {
    let message = ClaudeRequest(
      method: request.head.method, target: request.head.uri, headers: request.head.headers, body: request.body)
    do {
      return try await server.gateway.withResponse(to: message) { response in
        // Counted when the client has it: books keep nobody waiting.
        defer { server.metrics.answered(isMetered: message.isMetered, status: Int(response.status.code)) }
        return try await relay(response)
      }
    } catch {
      // The client gets what it would have got from upstream itself: an answer that breaks off.
      channel.close(mode: .all, promise: nil)
      if !(error is CancellationError) {
        server.logger.debug("an answer broke off", metadata: [LogKey.error: "\(type(of: error))"])
      }
      return false
    }
  }

  private func relay(_ response: ClaudeResponse) async throws -> Bool {
    let writer = ResponseWriter(channel: channel, clock: server.clock, isEventStream: response.isEventStream)
    writer.write(head(response))
    if response.isEventStream {
      let (metrics, silence) = (server.metrics, server.configuration.pingAfter)
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await writer.keepAlive(after: silence) { metrics.pinged() } }
        try await copy(response.body, to: writer)
        group.cancelAll()
      }
    } else {
      try await copy(response.body, to: writer)
    }
    return !isLast && (speaksChunks || response.headers.contains(name: "content-length"))
  }

  /// Passes a body on and ends the answer: what has come together goes on together, in one write.
  private func copy(_ body: ClaudeBody, to writer: ResponseWriter) async throws {
    var isEnded = false
    if !body.isReady { writer.flush() }
    while let chunk = try await body.next() {
      isEnded = body.isAtEnd
      if isEnded {
        try await writer.end(chunk)
      } else {
        try await writer.write(chunk, flushing: !body.isReady)
      }
    }
    if !isEnded { try await writer.end() }
  }

  private func head(_ response: ClaudeResponse) -> HTTPResponseHead {
    var headers = response.headers
    let hasFraming = headers.contains(name: "content-length") || speaksChunks
    if isLast || !hasFraming { headers.add(name: "connection", value: "close") }
    return HTTPResponseHead(version: request.head.version, status: response.status, headers: headers)
  }
}
