import Hummingbird
import NIOCore
import StatusPage

/// What a request brings along: the page must be able to close the connection of a client that doesn't read.
struct ControllerRequestContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  /// The connection.
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }
}

/// Carries requests for the page's paths to the page, and lets the others pass.
struct PageMiddleware: RouterMiddleware {
  /// The page.
  let page: StatusPage

  func handle(
    _ request: Request, context: ControllerRequestContext,
    next: @concurrent (Request, ControllerRequestContext) async throws -> Response
  ) async throws -> Response {
    guard page.serves(path: request.uri.path) else { return try await next(request, context) }
    let channel = context.channel
    return response(
      page.respond(
        to: PageRequest(
          method: request.method.rawValue, path: request.uri.path, query: request.uri.query ?? "",
          ifNoneMatch: request.headers[.ifNoneMatch],
          lastEventID: HTTPFields.Element.Name("Last-Event-ID").flatMap { request.headers[$0] },
          cut: { channel.close(promise: nil) })))
  }

  private func response(_ answer: PageResponse) -> Response {
    var headers = HTTPFields()
    for (name, value) in answer.headers {
      if let name = HTTPFields.Element.Name(name) { headers[name] = value }
    }
    let status = HTTPResponse.Status(code: answer.status)
    switch answer.body {
    case .bytes(let bytes):
      return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    case .none(let length):
      return Response(
        status: status, headers: headers, body: ResponseBody(contentLength: length) { try await $0.finish(nil) })
    case .events(let events): return Response(status: status, headers: headers, body: body(of: events))
    }
  }

  private func body(of events: PageEvents) -> ResponseBody {
    let page = self.page
    return ResponseBody { writer in
      // Also when the client is gone and a write fails.
      defer { page.end(events) }
      for await chunk in events.stream { try await writer.write(ByteBuffer(bytes: chunk)) }
      try await writer.finish(nil)
    }
  }
}
