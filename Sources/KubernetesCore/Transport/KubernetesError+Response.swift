extension KubernetesError {
  /// The error that a response with a status of 400 or more stands for.
  package init(response: APIResponse, request: APIRequest) {
    // Only a JSON body is looked into, and only when it is small enough for a Status.
    let status =
      response.body.count <= 1 << 20 ? try? KubernetesJSON.decode(APIStatus.self, from: response.body) : nil
    self.init(
      head: response.head, status: status.flatMap { $0.status == "Failure" || $0.code >= 400 ? $0 : nil },
      body: response.body, what: "\(request.method.rawValue) \(request.path)")
  }

  /// The error that a `Status` object within a watch stream stands for.
  package init(status: APIStatus, request: APIRequest? = nil) {
    self.init(
      head: APIResponseHead(status: status.code), status: status, body: [],
      what: request.map { "\($0.method.rawValue) \($0.path)" } ?? "The watch")
  }

  private init(head: APIResponseHead, status: APIStatus?, body: [UInt8], what: String) {
    let httpStatus = head.status
    let code = Self.code(httpStatus: httpStatus, reason: status?.reason ?? "")
    let said = status.map(Self.text(of:)) ?? Self.excerpt(of: body)
    var message = "\(what) failed with \(httpStatus)"
    if let reason = status?.reason, !reason.isEmpty { message += " \(Self.printable(reason, limit: 64))" }
    message += said.isEmpty ? "." : ": \(said)"
    if let advice = Self.advice(for: code, reason: status?.reason ?? "") {
      message += (message.hasSuffix(".") ? " " : ". ") + advice
    }
    self.init(
      code, message, httpStatus: httpStatus, reason: status.flatMap { $0.reason.isEmpty ? nil : $0.reason },
      retryAfter: Self.retryAfter(head: head, status: status))
  }

  private static func code(httpStatus: Int, reason: String) -> Code {
    if reason == "Expired" || reason == "Gone" { return .expired }
    switch httpStatus {
    case 401: return .unauthorized
    case 403: return .forbidden
    case 404: return .notFound
    case 405, 406, 415: return .notSupported
    case 408: return .timedOut
    case 409: return .conflict
    case 410: return .expired
    case 429: return .tooManyRequests
    case 400..<500: return .invalid
    case 500..<600: return .serverFailure
    default: return .malformedResponse
    }
  }

  /// The server's words, and each fault as `field: message`.
  private static func text(of status: APIStatus) -> String {
    var parts: [String] = []
    if !status.message.isEmpty { parts.append(printable(status.message, limit: 1_024)) }
    // The message of an Invalid status repeats its causes in one long line; the list reads better, so both are there
    // only when they differ.
    for cause in (status.details?.causes ?? []).prefix(10) {
      let text = cause.field.isEmpty ? cause.message : "\(cause.field): \(cause.message)"
      let printed = printable(text, limit: 256)
      if !printed.isEmpty, !parts.contains(where: { $0.contains(printed) }) { parts.append(printed) }
    }
    let dropped = (status.details?.causes.count ?? 0) - 10
    if dropped > 0 { parts.append("and \(dropped) more faults") }
    return parts.joined(separator: "; ")
  }

  private static func advice(for code: Code, reason: String) -> String? {
    switch code {
    case .unauthorized: "Check the credentials: the token may have expired or be for another cluster."
    case .forbidden:
      "Grant this to the account with a Role (or ClusterRole) and a binding for it, then try again."
    case .notFound: "Check the name and namespace, and that the resource's definition (CRD) is installed."
    case .notSupported: "The resource doesn't offer this operation or media type; check the API version."
    case .conflict where reason == "AlreadyExists": "An object of this name exists already; read it first."
    case .conflict: "The object has changed since it was read; read it again and decide again."
    case .expired: "The resource version is too old; list again."
    case .invalid: "Correct the fields named and send it again."
    default: nil
    }
  }

  private static func retryAfter(head: APIResponseHead, status: APIStatus?) -> Duration? {
    // A bound, so that a wrong header can't stop a loop for good.
    let longest: Int64 = 3_600
    if let text = head.header("Retry-After") {
      if let seconds = Int64(text), seconds >= 0 { return .seconds(min(seconds, longest)) }
      // A date counts from the server's own clock, as its Date field shows it.
      if let date = Timestamp(httpDate: text), let now = head.header("Date").flatMap({ Timestamp(httpDate: $0) }) {
        return min(max(date - now, .zero), .seconds(longest))
      }
    }
    guard let seconds = status?.details?.retryAfterSeconds, seconds > 0 else { return nil }
    return .seconds(min(Int64(seconds), longest))
  }

  /// The beginning of a body that is no `Status`, such as a proxy's page.
  private static func excerpt(of body: [UInt8]) -> String {
    printable(String(decoding: body.prefix(512), as: UTF8.self), limit: 256)
  }

  /// `text` in one line, cut to `limit` characters, with bearer tokens taken out.
  private static func printable(_ text: String, limit: Int) -> String {
    var words: [Substring] = []
    var hidesNext = false
    for word in text.prefix(limit * 2).split(whereSeparator: { $0.isWhitespace || $0.isNewline }) {
      words.append(hidesNext ? "[hidden]" : word)
      hidesNext = word.lowercased().hasSuffix("bearer")
    }
    let line = words.joined(separator: " ").unicodeScalars.filter { $0.properties.generalCategory != .control }
    let clean = String(String.UnicodeScalarView(line))
    return clean.count > limit ? clean.prefix(limit) + "…" : clean
  }
}
