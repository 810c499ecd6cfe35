import CoordinationAPI
package import CoordinationEngine
import HTTPTypes
import Hummingbird
package import Logging
import NIOCore
import ServiceLifecycle

/// What a request brings along: whether its client is still there.
struct TaskRequestContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }
}

/// Serves an engine's API over HTTP/1.1 on loopback, without a token: whoever may run programs on this machine may use it.
package struct TaskQueueServer: Service {
  private let engine: any CoordinationEngine
  private let port: Int
  private let clock: any Clock<Duration>
  private let logger: Logger
  private let onListening: @Sendable (Int) async -> Void

  /// Makes a server on 127.0.0.1 (port 0 picks a free one); `clock` is for the pings of streams; `onListening` is told the
  /// port once it accepts.
  package init(
    engine: any CoordinationEngine, port: Int = 0, clock: any Clock<Duration> = ContinuousClock(), logger: Logger,
    onListening: @escaping @Sendable (Int) async -> Void = { _ in }
  ) {
    self.engine = engine
    self.port = port
    self.clock = clock
    self.logger = logger
    self.onListening = onListening
  }

  package func run() async throws {
    let api = EngineAPI(engine)
    let (onListening, clock) = (self.onListening, self.clock)
    let application = Application(
      responder: CallbackResponder<TaskRequestContext> { request, context in
        try await Self.respond(to: request, context, api, clock)
      },
      configuration: .init(address: .hostname("127.0.0.1", port: port), serverName: nil),
      onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) },
      logger: logger)
    try await withGracefulShutdownHandler {
      try await application.run()
    } onGracefulShutdown: {
      // Long polls and streams end, else the server would wait for them.
      api.endWaiting()
    }
  }

  private static func respond(
    to request: Request, _ context: TaskRequestContext, _ api: EngineAPI, _ clock: any Clock<Duration>
  ) async throws -> Response {
    if let error = EngineAPI.refusal(host: request.head.authority ?? "") { return response(TaskAPI.Answer(error)) }
    var body: [UInt8] = []
    do {
      body = Array(try await request.body.collect(upTo: EngineAPI.bodyBytes).readableBytesView)
    } catch {
      var response = refusal(
        413, "request_too_large", "a body has at most \(EngineAPI.bodyBytes) bytes: send less at once")
      response.headers[.connection] = "close"
      return response
    }
    let call = EngineAPI.Request(
      request.method.rawValue, request.uri.string, contentType: request.headers[.contentType] ?? "",
      lastEventID: request.headers[.lastEventID], body: body)
    let target = APITarget(call.target)
    if target.path == "/v1/tasks/next" { return try await next(call, target, context.channel, api, clock) }
    if EngineAPI.mayWait(call.target) {
      return try await longPoll(context.channel, api, clock) { try await api.respond(to: call) }
    }
    return response(try await api.respond(to: call), context.channel, api, clock)
  }

  private static func refusal(_ status: Int, _ type: String, _ message: String) -> Response {
    response(TaskAPI.Answer(TaskAPIError(status, type, message)))
  }

  private static func gone() -> Response { refusal(408, "timeout", "the client is gone") }

  /// A claim: what it hands out is taken back when the client is gone, and while it waits it is looked whether it is.
  private static func next(
    _ call: EngineAPI.Request, _ target: APITarget, _ channel: any Channel, _ api: EngineAPI,
    _ clock: any Clock<Duration>
  ) async throws -> Response {
    let respond: @Sendable (_ query: [String: String]) async throws -> TaskAPI.Answer = { query in
      try await api.tasks.respond(
        method: call.method, path: target.path, query: query, contentType: call.contentType, body: call.body)
    }
    if let wait = try? TaskAPI.wait(target.query), wait > .zero {
      let answer = try await respond(target.query.merging(["wait": "0"]) { $1 })
      if answer.isEmpty { return try await longPoll(channel, api, clock) { .json(try await respond(target.query)) } }
      return response(answer) { await api.tasks.takeBack(answer.handedOut) }
    }
    let answer = try await respond(target.query)
    guard channel.isActive || answer.handedOut.isEmpty else {
      await api.tasks.takeBack(answer.handedOut)
      return gone()
    }
    return response(answer) { await api.tasks.takeBack(answer.handedOut) }
  }

  /// Waits with a request whose client may go away meanwhile: then it waits for nothing, and no task is handed out to nobody.
  private static func longPoll(
    _ channel: any Channel, _ api: EngineAPI, _ clock: any Clock<Duration>,
    _ body: @escaping @Sendable () async throws -> EngineAPI.Answer
  ) async throws -> Response {
    let watch = try await ConnectionWatch(channel)
    let result: Result<EngineAPI.Answer?, any Error>
    do {
      result = .success(
        try await withThrowingTaskGroup(of: EngineAPI.Answer?.self) { group in
          group.addTask { try await body() }
          group.addTask {
            await watch.isGone.wait()
            return nil
          }
          defer { group.cancelAll() }
          return try await group.next() ?? nil
        })
    } catch { result = .failure(error) }
    await watch.end()
    let answer = try result.get()
    guard let answer else { return gone() }
    return response(answer, channel, api, clock)
  }

  // MARK: Answers

  private static func response(
    _ answer: EngineAPI.Answer, _ channel: any Channel, _ api: EngineAPI, _ clock: any Clock<Duration>
  ) -> Response {
    switch answer {
    case .json(let answer): response(answer) { await api.tasks.takeBack(answer.handedOut) }
    case .bytes(let bytes):
      Response(
        status: .ok, headers: [.contentType: "application/octet-stream"],
        body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    case .events(let events): response(events, channel, clock)
    }
  }

  private static func response(_ events: EventStream, _ channel: any Channel, _ clock: any Clock<Duration>) -> Response
  {
    Response(
      status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
      body: ResponseBody { writer in
        let watch = try await ConnectionWatch(channel)
        let result: Result<Void, any Error>
        do {
          result = .success(
            try await events.send(until: watch.isGone, sleep: { try await clock.sleep(for: $0) }) {
              try await writer.write(ByteBuffer(bytes: $0))
            })
        } catch { result = .failure(error) }
        await watch.end()
        try result.get()
        try await writer.finish(nil)
      })
  }

  /// The answer over HTTP; `onFailure` is called when it can't be written.
  private static func response(
    _ answer: TaskAPI.Answer, onFailure: @escaping @Sendable () async -> Void = {}
  ) -> Response {
    var headers: HTTPFields = [.contentType: "application/json"]
    if let seconds = answer.retryAfter { headers[.retryAfter] = "\(seconds)" }
    if !answer.allow.isEmpty { headers[.allow] = answer.allow.joined(separator: ", ") }
    let buffer = ByteBuffer(bytes: answer.body)
    return Response(
      status: .init(code: answer.status), headers: headers,
      body: ResponseBody(contentLength: buffer.readableBytes) { writer in
        do {
          try await writer.write(buffer)
          try await writer.finish(nil)
        } catch {
          await onFailure()
          throw error
        }
      })
  }
}

extension HTTPField.Name {
  /// What a client of an event stream sends when it comes again.
  fileprivate static let lastEventID = Self("last-event-id")!
}

/// Looks whether a client is still there, until `end`.
private struct ConnectionWatch: Sendable {
  /// Comes when the client has gone.
  let isGone = Ending()
  private let channel: any Channel
  private let watcher: InputCloseWatcher

  init(_ channel: any Channel) async throws {
    self.channel = channel
    watcher = InputCloseWatcher { [isGone] in isGone.end() }
    try await channel.pipeline.addHandler(watcher, position: .first)
  }

  func end() async {
    // Gone with its connection, it needn't be removed.
    try? await channel.pipeline.removeHandler(watcher)
  }
}

/// Tells when the client has closed its side of the connection, which the server keeps open for the answer otherwise.
private final class InputCloseWatcher: ChannelInboundHandler, RemovableChannelHandler, Sendable {
  typealias InboundIn = NIOAny

  private let onClose: @Sendable () -> Void

  init(onClose: @escaping @Sendable () -> Void) {
    self.onClose = onClose
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .inputClosed? = event as? ChannelEvent { onClose() }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    onClose()
    context.fireChannelInactive()
  }
}
