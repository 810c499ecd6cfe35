/// A request as far as the page looks at it; the HTTP server's types stay in the HTTP server.
package struct PageRequest: Sendable {
  /// The method in capitals.
  package var method: String
  /// The path without its query, as it was sent.
  package var path: String
  /// The query without its question mark.
  package var query: String
  /// The header `If-None-Match`.
  package var ifNoneMatch: String?
  /// The header `Last-Event-ID`.
  package var lastEventID: String?
  /// Closes the connection of a client that doesn't keep up with its events.
  package var cut: @Sendable () -> Void

  /// Makes a request.
  package init(
    method: String = "GET", path: String, query: String = "", ifNoneMatch: String? = nil, lastEventID: String? = nil,
    cut: @escaping @Sendable () -> Void = {}
  ) {
    self.method = method
    self.path = path
    self.query = query
    self.ifNoneMatch = ifNoneMatch
    self.lastEventID = lastEventID
    self.cut = cut
  }

  /// The parts of the path, decoded; nil when it can't be.
  var segments: [String]? {
    var result: [String] = []
    for part in path.split(separator: "/") {
      guard let text = Self.decoded(part) else { return nil }
      result.append(text)
    }
    return result
  }

  /// The first value of a name in the query, decoded.
  func parameter(_ name: String) -> String? {
    for pair in query.split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2, parts[0] == name { return Self.decoded(parts[1]) }
    }
    return nil
  }

  /// Undoes percent-encoding; nil when what comes out isn't text.
  private static func decoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
      bytes.append(high << 4 | low)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}

/// An answer of the page.
package struct PageResponse: Sendable {
  /// What it carries.
  package enum Body: Sendable {
    /// These bytes.
    case bytes([UInt8])
    /// Nothing, where a body would have this length: answers to HEAD, and 304. Nil: a stream, of no length.
    case none(length: Int?)
    /// Events until the stream ends.
    case events(PageEvents)
  }

  /// The status code.
  package var status: Int
  /// The headers.
  package var headers: [(name: String, value: String)]
  /// The body.
  package var body: Body

  /// What every answer of the page says: no script, style, picture or connection but our own, no frame around it, no
  /// guessing of types, no address told to others.
  private static let guards: [(name: String, value: String)] = [
    (
      "Content-Security-Policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
  ]

  /// Makes an answer with the headers that all have.
  init(_ status: Int, _ headers: [(name: String, value: String)], _ body: Body) {
    self.status = status
    self.headers = headers + Self.guards
    self.body = body
  }

  /// An answer in JSON.
  static func json(_ json: JSONText, status: Int = 200) -> PageResponse {
    PageResponse(
      status, [("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store")], .bytes(json.bytes))
  }

  /// An error in JSON.
  static func error(
    _ status: Int, _ code: String, _ message: String, _ headers: [(name: String, value: String)] = []
  ) -> PageResponse {
    var json = JSONText()
    json.object { json in
      json.member(
        "error",
        object: { json in
          json.member("code", code)
          json.member("message", message)
        })
    }
    var response = PageResponse.json(json, status: status)
    response.headers = headers + response.headers
    return response
  }

  /// The value of a header.
  package func header(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name.lowercased() }?.value
  }
}

/// The events of one client.
package struct PageEvents: Sendable {
  /// Tells it from the others.
  package let id: UInt64
  /// The events' text, piece by piece; it ends when the client is cut off or the server stops.
  package let stream: AsyncStream<[UInt8]>
}
