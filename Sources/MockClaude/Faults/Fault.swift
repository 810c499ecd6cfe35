/// Something that goes wrong on purpose. Written as `name;key=value;…` in configuration and in the `X-Mock-Fault` header.
package enum Fault: Hashable, Sendable {
  /// 529 `overloaded_error`.
  case overloaded(retryAfter: Int?)
  /// 500 `api_error`.
  case internalError
  /// 503 `api_error` with `x-should-retry: false`.
  case unavailable
  /// 504 `timeout_error`.
  case timeout
  /// 502 as an HTML page.
  case badGateway
  /// 520 as an HTML page of Cloudflare.
  case unknownGateway
  /// 403 as an HTML challenge of Cloudflare.
  case challenge
  /// Connection reset before any header.
  case resetBeforeHeaders
  /// Nothing is ever answered.
  case stallBeforeHeaders
  /// The request body is read at so many bytes a second.
  case slowRead(bytesPerSecond: Int)
  /// A fault of the answer, after so many output tokens.
  case inStream(InStreamFault, afterTokens: Int)

  /// What goes wrong inside an answer.
  package enum InStreamFault: Hashable, Sendable {
    /// `event: error` before any content (with 0 tokens: right after `message_start`).
    case error(type: String)
    /// `event: error` as the very first event.
    case errorAtOnce(type: String)
    /// Reset after the headers, before any event.
    case resetAfterHeaders
    /// Reset in the middle of an event.
    case reset
    /// Silence for ever.
    case stall
    /// The connection ends without `message_stop` and without the last chunk.
    case close
    /// The answer ends properly, but without `message_stop`.
    case endWithoutStop
  }

  /// The fault inside an answer, if it is one.
  package var inStream: (fault: InStreamFault, afterTokens: Int)? {
    guard case .inStream(let fault, let tokens) = self else { return nil }
    return (fault, tokens)
  }
}

/// Text that names no fault.
package struct UnknownFault: Error, CustomStringConvertible {
  /// The text.
  package var text: String

  package var description: String {
    "\"\(text)\" is no fault; known are overloaded[;retry-after=N], internal-error, unavailable, timeout, bad-gateway, "
      + "unknown-gateway, challenge, reset-before-headers, stall-before-headers, slow-read;bytes-per-second=N, "
      + "stream-error-at-once[;type=T], stream-error[;after=TOKENS;type=T], reset-after-headers, reset[;after=TOKENS], "
      + "stall[;after=TOKENS], close[;after=TOKENS], end-without-stop[;after=TOKENS]"
  }
}

extension Fault {
  /// Reads `name;key=value;…`.
  package init(_ text: String) throws(UnknownFault) {
    let words = text.split(separator: ";").map { part in
      String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
    var options: [String: String] = [:]
    for word in words.dropFirst() {
      let pair = word.split(separator: "=", maxSplits: 1).map(String.init)
      guard pair.count == 2, ["after", "retry-after", "bytes-per-second", "type"].contains(pair[0]) else {
        throw UnknownFault(text: text)
      }
      options[pair[0]] = pair[1]
    }
    func number(_ key: String) throws(UnknownFault) -> Int? {
      guard let value = options[key] else { return nil }
      guard let number = Int(value), number >= 0 else { throw UnknownFault(text: text) }
      return number
    }
    let (after, type) = (try number("after") ?? 0, options["type"] ?? "overloaded_error")
    switch words.first {
    case "overloaded": self = .overloaded(retryAfter: try number("retry-after"))
    case "internal-error": self = .internalError
    case "unavailable": self = .unavailable
    case "timeout": self = .timeout
    case "bad-gateway": self = .badGateway
    case "unknown-gateway": self = .unknownGateway
    case "challenge": self = .challenge
    case "reset-before-headers": self = .resetBeforeHeaders
    case "stall-before-headers": self = .stallBeforeHeaders
    case "slow-read": self = .slowRead(bytesPerSecond: max(1, try number("bytes-per-second") ?? 1000))
    case "stream-error-at-once": self = .inStream(.errorAtOnce(type: type), afterTokens: 0)
    case "stream-error": self = .inStream(.error(type: type), afterTokens: after)
    case "reset-after-headers": self = .inStream(.resetAfterHeaders, afterTokens: 0)
    case "reset": self = .inStream(.reset, afterTokens: after)
    case "stall": self = .inStream(.stall, afterTokens: after)
    case "close": self = .inStream(.close, afterTokens: after)
    case "end-without-stop": self = .inStream(.endWithoutStop, afterTokens: after)
    default: throw UnknownFault(text: text)
    }
  }
}

extension Fault: CustomStringConvertible {
  package var description: String {
    switch self {
    case .overloaded(let seconds): seconds.map { "overloaded;retry-after=\($0)" } ?? "overloaded"
    case .internalError: "internal-error"
    case .unavailable: "unavailable"
    case .timeout: "timeout"
    case .badGateway: "bad-gateway"
    case .unknownGateway: "unknown-gateway"
    case .challenge: "challenge"
    case .resetBeforeHeaders: "reset-before-headers"
    case .stallBeforeHeaders: "stall-before-headers"
    case .slowRead(let rate): "slow-read;bytes-per-second=\(rate)"
    case .inStream(.errorAtOnce(let type), _): "stream-error-at-once;type=\(type)"
    case .inStream(.error(let type), let tokens): "stream-error;after=\(tokens);type=\(type)"
    case .inStream(.resetAfterHeaders, _): "reset-after-headers"
    case .inStream(.reset, let tokens): "reset;after=\(tokens)"
    case .inStream(.stall, let tokens): "stall;after=\(tokens)"
    case .inStream(.close, let tokens): "close;after=\(tokens)"
    case .inStream(.endWithoutStop, let tokens): "end-without-stop;after=\(tokens)"
    }
  }
}

extension Fault: Codable {
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    do {
      self = try Fault(container.decode(String.self))
    } catch let error as UnknownFault {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: error.description)
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
