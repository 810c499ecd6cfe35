/// A request as it came over HTTP.
package struct APIRequest: Sendable {
  /// What became of the body.
  package enum Body: Sendable {
    /// The decoded bytes.
    case bytes([UInt8])
    /// Larger than the network in front of the API lets through.
    case tooLarge
    /// A `content-encoding` that the API doesn't know.
    case unsupportedEncoding(String)
    /// The encoding is known, the bytes are not of it.
    case undecodable
  }

  /// Upper case, such as `POST`.
  package var method: String
  /// Path and query.
  package var target: String
  /// Fields in order.
  package var headers: [HeaderField]
  /// The body.
  package var body: Body

  /// A request.
  package init(method: String, target: String, headers: [HeaderField] = [], body: Body = .bytes([])) {
    self.method = method
    self.target = target
    self.headers = headers
    self.body = body
  }

  /// The first field of a name, in lower case.
  package func header(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name }?.value
  }

  /// The path without the query.
  package var path: String {
    String(target.prefix { $0 != "?" })
  }

  /// A value of the query.
  package func query(_ name: String) -> String? {
    for pair in target.drop(while: { $0 != "?" }).dropFirst().split(separator: "&") where pair.hasPrefix(name + "=") {
      return String(pair.dropFirst(name.utf8.count + 1))
    }
    return nil
  }
}

/// A complete response.
package struct HTTPReply: Sendable {
  /// Status code.
  package var status: Int
  /// Fields in order; the server adds lengths.
  package var headers: [HeaderField]
  /// The body.
  package var body: String

  /// A response.
  package init(status: Int, headers: [HeaderField], body: String) {
    self.status = status
    self.headers = headers
    self.body = body
  }
}

/// What the server has to do with a request.
package enum APIReply: Sendable {
  /// Send this at once.
  case complete(HTTPReply)
  /// Wait until `generation.endsAt`, then send what `MockClaudeAPI.finish` gives.
  case message(Generation)
  /// Wait until `generation.startsAt`, then send the headers of `MockClaudeAPI.begin` and its script.
  case stream(Generation)
  /// Carry out a fault of the connection.
  case fault(Fault)
  /// Change the clock, then answer with its state.
  case clock(ClockChange)
}

/// A change of the server's clock, as `POST /admin/clock` asks for it.
package struct ClockChange: Decodable, Hashable, Sendable {
  /// Seconds of the mock's time in one real second; 0 stops it.
  package var speed: Double?
  /// Jumps forward by so many seconds.
  package var advanceSeconds: Double?
  /// Jumps forward to this moment (RFC 3339).
  package var now: String?
  /// See `ClockSettings`.
  package var dateSkewSeconds: Int?
  /// See `ClockSettings`.
  package var resetSkewSeconds: Int?
}
