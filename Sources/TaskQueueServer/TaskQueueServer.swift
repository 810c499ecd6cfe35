import Hummingbird
import KubernetesCore
package import Logging
import NIOCore
import ServiceLifecycle
package import TaskQueue

/// What a request brings along: whether its client is still there.
struct TaskRequestContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }
}

/// Serves the tasks' API over HTTP/1.1 on loopback, without a token: whoever may run programs on this machine may use it.
package struct TaskQueueServer: Service {
  private let engine: any TaskEngine
  private let port: Int
  private let logger: Logger
  private let onListening: @Sendable (Int) async -> Void

  /// Makes a server on 127.0.0.1 (port 0 picks a free one); `onListening` is told the port once it accepts.
  package init(
    engine: any TaskEngine, port: Int = 0, logger: Logger,
    onListening: @escaping @Sendable (Int) async -> Void = { _ in }
  ) {
    self.engine = engine
    self.port = port
    self.logger = logger
    self.onListening = onListening
  }

  package func run() async throws {
    let engine = self.engine
    let api = TaskAPI(engine: engine)
    let onListening = self.onListening
    let application = Application(
      responder: CallbackResponder<TaskRequestContext> { request, context in
        try await Self.respond(to: request, context, api)
      },
      configuration: .init(address: .hostname("127.0.0.1", port: port), serverName: nil),
      onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) },
      logger: logger)
    try await withGracefulShutdownHandler {
      try await application.run()
    } onGracefulShutdown: {
      // Long polls end, else the server would wait for them.
      engine.endWaiting()
    }
  }

  private static func respond(
    to request: Request, _ context: TaskRequestContext, _ api: TaskAPI
  ) async throws -> Response {
    // A page from elsewhere whose name is made to resolve to this machine still names itself.
    let host = request.head.authority ?? ""
    guard ["127.0.0.1", "localhost", "[::1]"].contains(where: { host == $0 || host.hasPrefix("\($0):") }) else {
      return response(
        TaskAPI.Answer(TaskAPIError(403, "forbidden", "the host is 127.0.0.1 or localhost, not \"\(host.prefix(60))\""))
      )
    }
    var body: [UInt8] = []
    do {
      body = Array(try await request.body.collect(upTo: TaskAPI.bodyBytes).readableBytesView)
    } catch {
      var response = response(
        TaskAPI.Answer(
          TaskAPIError(
            413, "request_too_large", "a body has at most \(TaskAPI.bodyBytes) bytes: submit fewer tasks at once")))
      response.headers[.connection] = "close"
      return response
    }
    let query = Dictionary(
      request.uri.queryParameters.map { (String($0.key), String($0.value)) }, uniquingKeysWith: { first, _ in first })
    let respond: @Sendable (_ query: [String: String]) async throws -> TaskAPI.Answer = { [body] query in
      try await api.respond(
        method: request.method.rawValue, path: request.uri.path, query: query,
        contentType: request.headers[.contentType] ?? "", body: body)
    }
    if let wait = query["wait"].flatMap({ Int($0) }), (1...TaskAPI.longestWait).contains(wait) {
      let answer = try await respond(query.merging(["wait": "0"]) { $1 })
      if answer.isEmpty { return try await longPoll(context.channel, api) { try await respond(query) } }
      return response(answer) { await api.takeBack(answer.handedOut) }
    }
    let answer = try await respond(query)
    guard context.channel.isActive || answer.handedOut.isEmpty else {
      await api.takeBack(answer.handedOut)
      return response(TaskAPI.Answer(TaskAPIError(408, "timeout", "the client is gone")))
    }
    return response(answer) { await api.takeBack(answer.handedOut) }
  }

  /// Waits with a request whose client may go away meanwhile: then it waits for nothing, and no task is handed out to nobody.
  private static func longPoll(
    _ channel: any Channel, _ api: TaskAPI, _ body: @escaping @Sendable () async throws -> TaskAPI.Answer
  ) async throws -> Response {
    let (ends, end) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let watcher = InputCloseWatcher { end.yield() }
    try await channel.pipeline.addHandler(watcher, position: .first)
    let answer = try await withThrowingTaskGroup(of: TaskAPI.Answer?.self) { group in
      group.addTask { try await body() }
      group.addTask {
        for await _ in ends { break }
        return nil
      }
      let first = try await group.next() ?? nil
      group.cancelAll()
      return first
    }
    // Gone with its connection, it needn't be removed.
    try? await channel.pipeline.removeHandler(watcher)
    guard let answer else { return response(TaskAPI.Answer(TaskAPIError(408, "timeout", "the client is gone"))) }
    return response(answer) { await api.takeBack(answer.handedOut) }
  }

  /// The answer over HTTP; `onFailure` is called when it can't be written.
  private static func response(
    _ answer: TaskAPI.Answer, onFailure: @escaping @Sendable () async -> Void = {}
  ) -> Response {
    var text = answer.json.text
    text.append(UInt8(ascii: "\n"))
    var headers: HTTPFields = [.contentType: "application/json"]
    if let seconds = answer.retryAfter { headers[.retryAfter] = "\(seconds)" }
    if !answer.allow.isEmpty { headers[.allow] = answer.allow.joined(separator: ", ") }
    let buffer = ByteBuffer(bytes: text)
    return Response(
      status: .init(code: answer.status), headers: headers,
      body: ResponseBody(contentLength: text.count) { writer in
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
