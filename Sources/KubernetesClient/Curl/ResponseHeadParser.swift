import KubernetesCore

/// Puts a response's head together from the lines that libcurl gives, within bounds.
///
/// libcurl gives every head on the way (100, 103, a proxy's) and, after the body, the trailer; only the final head counts.
struct ResponseHeadParser {
  /// What a line led to.
  enum Outcome: Equatable {
    /// More lines are needed, or the line doesn't matter.
    case more
    /// The final head is complete.
    case head(APIResponseHead)
    /// The server sends more header bytes than allowed.
    case tooLarge
    /// The line isn't HTTP.
    case malformed
  }

  private enum State {
    case statusLine
    case fields(status: Int, [APIRequest.HeaderField])
    case done
  }

  private let maximumBytes: Int
  private var bytes = 0
  private var state = State.statusLine

  /// Makes a parser that accepts so many bytes of header lines in all.
  init(maximumBytes: Int) {
    self.maximumBytes = maximumBytes
  }

  /// True when the final head is complete.
  var isDone: Bool {
    if case .done = state { true } else { false }
  }

  /// Takes the next line, line end included.
  mutating func receive(line: some Collection<UInt8>) -> Outcome {
    bytes += line.count
    guard bytes <= maximumBytes else { return .tooLarge }
    let text = trimmedASCIIWhitespace(String(decoding: line, as: UTF8.self))
    switch state {
    case .done: return .more
    case .statusLine:
      guard let status = Self.status(ofLine: text) else { return .malformed }
      state = .fields(status: status, [])
      return .more
    case .fields(let status, var fields):
      if text.isEmpty { return endOfHead(status: status, fields: fields) }
      if text.hasPrefix("HTTP/"), let status = Self.status(ofLine: text) {
        state = .fields(status: status, [])
        return .more
      }
      guard let colon = text.utf8.firstIndex(of: 0x3A), colon > text.startIndex else { return .malformed }
      fields.append(
        APIRequest.HeaderField(String(text[..<colon]), trimmedASCIIWhitespace(text[text.index(after: colon)...])))
      state = .fields(status: status, fields)
      return .more
    }
  }

  private mutating func endOfHead(status: Int, fields: [APIRequest.HeaderField]) -> Outcome {
    if status < 200 {
      state = .statusLine
      return .more
    }
    state = .done
    return .head(APIResponseHead(status: status, headers: fields))
  }

  /// The code of a line such as `HTTP/2 200`.
  private static func status(ofLine line: String) -> Int? {
    let parts = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: true)
    guard parts.count >= 2, parts[0].hasPrefix("HTTP/"), parts[1].utf8.count == 3, let status = Int(parts[1]),
      status >= 100
    else { return nil }
    return status
  }
}
