import HTTPTypes
import Hummingbird
import KubernetesCore
import LocalAPI

/// The API over HTTP: who asks, what is asked, and the answer's bytes.
struct APIServer: Sendable {
  let hub: ClusterHub
  let identity: ServerIdentity
  let configuration: LocalClusterConfiguration
  let logs: any ClusterLogSource
  let usage: any ClusterUsageSource
  let external: any ClusterExternalSource
  let time: any TimeSource

  /// What may be asked without a token, as in Kubernetes.
  private static let open: Set<String> = ["/healthz", "/livez", "/readyz", "/version"]

  func respond(to request: Request) async -> Response {
    let (path, query) = Self.parts(of: request.head.path ?? "/")
    guard let caller = caller(request) ?? (Self.open.contains(path) ? "system:anonymous" : nil) else {
      let failure = APIFailure(401, "Unauthorized", "Unauthorized")
      return Self.document(401, failure.status)
    }
    var call = APICall(
      request.method.rawValue, path, query: query, accept: request.headers[.accept] ?? "application/json",
      contentType: request.headers[.contentType] ?? "", userAgent: request.headers[.userAgent] ?? "", caller: caller)
    if request.method != .get, request.method != .head {
      do {
        let limit = configuration.limits.bodyBytes
        let body = try await request.body.collect(upTo: limit)
        call.body = Array(body.readableBytesView)
      } catch {
        let failure = APIFailure(
          413, "RequestEntityTooLarge",
          "Request entity too large: limit is \(configuration.limits.bodyBytes)")
        var response = Self.document(413, failure.status)
        response.headers[.connection] = "close"
        return response
      }
    }
    switch hub.respond(to: call) {
    case .document(let status, let document, let warnings): return Self.document(status, document, warnings)
    case .text(let status, let text): return Self.text(status, text)
    case .watch(let watch): return stream(watch, request)
    case .log(let log): return await stream(log, request)
    case .metrics(let metrics):
      let measured =
        metrics.isNodes ? await usage.nodeUsage().map(\.json) : await usage.podUsage().map(\.json)
      guard case .document(let status, let document, _) = ClusterState.metricsDocument(for: metrics, measured: measured)
      else { return Self.text(500, "metrics without a document") }
      return Self.document(status, document)
    case .external(let metrics):
      let measured = await external.values(of: metrics.metric, matching: metrics.selector)
      return Self.document(
        200, ClusterState.externalDocument(for: metrics, measured: measured, at: time.wallNow))
    }
  }

  private func caller(_ request: Request) -> String? {
    guard let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer ") else { return nil }
    let token = String(header.dropFirst("bearer ".count))
    return identity.accepts(token) ? "admin" : hub.caller(token: token)
  }

  // MARK: Requests

  /// Path and query of a request's target, decoded.
  static func parts(of target: String) -> (path: String, query: [(name: String, value: String)]) {
    let pieces = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    var query: [(name: String, value: String)] = []
    for pair in pieces.count < 2 ? [] : pieces[1].split(separator: "&") {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let value = sides.count < 2 ? "" : decoded(sides[1], isQuery: true)
      query.append((name: decoded(sides[0], isQuery: true), value: value))
    }
    return (decoded(pieces.first ?? "/", isQuery: false), query)
  }

  private static func decoded(_ text: Substring, isQuery: Bool) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), rest.count >= 2,
        let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
      {
        bytes.append(value)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(isQuery && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  // MARK: Responses

  static func document(_ status: Int, _ document: JSONValue, _ warnings: [String] = []) -> Response {
    var headers: HTTPFields = [.contentType: "application/json"]
    if let name = HTTPField.Name("Warning") {
      for warning in warnings { headers.append(HTTPField(name: name, value: "299 - \"\(quoted(warning))\"")) }
    }
    if document["reason"] == "Timeout" || status == 429 { headers[.retryAfter] = "1" }
    var text = document.text
    text.append(UInt8(ascii: "\n"))
    return Response(
      status: .init(code: status), headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: text)))
  }

  /// The text of a warning as a quoted string of HTTP.
  private static func quoted(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": result += "\\\(scalar)"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F: result += " "
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  static func text(_ status: Int, _ text: String) -> Response {
    Response(
      status: .init(code: status), headers: [.contentType: "text/plain; charset=utf-8"],
      body: .init(byteBuffer: ByteBuffer(string: text)))
  }
}
