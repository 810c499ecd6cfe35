import NIOCore

/// Headers of a message: ordered, several values a name, names compared exactly as the protocol does (`Nats-Msg-Id`).
package struct NATSHeaders: Sendable, Hashable, ExpressibleByDictionaryLiteral {
  /// Name and value of each header, in the order of the wire.
  package private(set) var entries: [Entry] = []

  /// One header line.
  package struct Entry: Sendable, Hashable {
    package var name: String
    package var value: String
  }

  /// No headers.
  package init() {}

  /// Headers in the order of the literal.
  package init(dictionaryLiteral elements: (String, String)...) {
    entries = elements.map { Entry(name: $0.0, value: $0.1) }
  }

  /// Whether there are none.
  package var isEmpty: Bool { entries.isEmpty }

  /// The first value of a name; setting replaces all values of it, nil removes them.
  package subscript(name: String) -> String? {
    get { entries.first { $0.name == name }?.value }
    set {
      if let newValue {
        if let at = entries.firstIndex(where: { $0.name == name }) {
          entries[at].value = newValue
          let rest = entries[(at + 1)...].filter { $0.name != name }
          entries.replaceSubrange((at + 1)..., with: rest)
        } else {
          entries.append(Entry(name: name, value: newValue))
        }
      } else {
        entries.removeAll { $0.name == name }
      }
    }
  }

  /// Adds a further value.
  package mutating func append(_ name: String, _ value: String) {
    entries.append(Entry(name: name, value: value))
  }

  /// The first header that can't travel: a line break in it would end the line early and let a value forge headers.
  package var invalidName: String? {
    for entry in entries {
      let name = entry.name.utf8
      if name.isEmpty || name.contains(where: { $0 <= 0x20 || $0 == 0x3A || $0 >= 0x7F }) { return entry.name }
      if entry.value.utf8.contains(where: { $0 == 0x0D || $0 == 0x0A }) { return entry.name }
    }
    return nil
  }
}

/// The status that the server puts into the first line of headers, without a payload: the answer to a pull, a heartbeat, no responders.
package struct NATSStatus: Sendable, Hashable {
  /// Three digits.
  package var code: Int
  /// The server's words, possibly empty.
  package var description: String

  /// Idle heartbeat, or flow control.
  package static let idle = 100
  /// A bad request, such as a pull that the consumer's limits refuse.
  package static let badRequest = 400
  /// No messages for a pull that doesn't wait.
  package static let noMessages = 404
  /// A pull has expired.
  package static let requestTimeout = 408
  /// A pull ended for another reason: consumer deleted, message size, leadership change, server shutdown.
  package static let conflict = 409
  /// A pinned consumer's pin was lost.
  package static let pinMismatch = 423
  /// Nobody listens on the subject of the request.
  package static let noResponders = 503
  /// Not of the server: this client's mark between messages of two connections.
  package static let reconnected = -1

  /// Whether a pull has ended as it should: it was waited for long enough, there is no more, or all that there was is on its way.
  package var endsPull: Bool {
    switch code {
    case Self.noMessages, Self.requestTimeout: true
    case Self.conflict: description == "Batch Completed"
    default: false
    }
  }
}

extension NATSHeaders {
  /// The first line, `NATS/1.0`, after which a status may follow.
  static let version: StaticString = "NATS/1.0"

  /// Reads a header block: version line, optional status, `Name: value` lines, empty line.
  ///
  /// - Throws: `NATSProtocolError.malformedHeaders`.
  static func parse(_ bytes: UnsafeRawBufferPointer) throws(NATSProtocolError) -> (NATSHeaders, NATSStatus?) {
    var lines = LineReader(bytes)
    guard let first = lines.next(), first.count >= 8, first.prefix(8).elementsEqual("NATS/1.0".utf8) else {
      throw .malformedHeaders
    }
    var status: NATSStatus?
    let rest = trim(first.dropFirst(8))
    if !rest.isEmpty {
      guard rest.count >= 3, let code = decimal(rest.prefix(3)), rest.count == 3 || isBlank(rest[rest.startIndex + 3])
      else { throw .malformedHeaders }
      status = NATSStatus(
        code: Int(code), description: String(decoding: trim(rest.dropFirst(3)), as: UTF8.self))
    }
    var headers = NATSHeaders()
    while let line = lines.next() {
      if line.isEmpty { break }
      guard let colon = line.firstIndex(of: 0x3A), colon > line.startIndex else { throw .malformedHeaders }
      headers.append(
        String(decoding: line[..<colon], as: UTF8.self), String(decoding: trim(line[(colon + 1)...]), as: UTF8.self))
    }
    return (headers, status)
  }

  /// The size on the wire, version and empty line included.
  var encodedSize: Int {
    entries.reduce(12) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
  }

  func encode(into buffer: inout ByteBuffer) {
    buffer.writeStaticString("NATS/1.0\r\n")
    for entry in entries {
      buffer.writeString(entry.name)
      buffer.writeStaticString(": ")
      buffer.writeString(entry.value)
      buffer.writeStaticString("\r\n")
    }
    buffer.writeStaticString("\r\n")
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  private static func trim(_ bytes: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
    var bytes = bytes
    while let byte = bytes.first, isBlank(byte) { bytes.removeFirst() }
    while let byte = bytes.last, isBlank(byte) { bytes.removeLast() }
    return bytes
  }

  private static func decimal(_ bytes: Slice<UnsafeRawBufferPointer>) -> UInt64? { parseDecimal(bytes) }
}

/// A non-negative decimal number of at most 18 digits; nil for anything else.
func parseDecimal(_ bytes: some Collection<UInt8>) -> UInt64? {
  guard !bytes.isEmpty, bytes.count <= 18 else { return nil }
  var value: UInt64 = 0
  for byte in bytes {
    guard byte >= 0x30, byte <= 0x39 else { return nil }
    value = value * 10 + UInt64(byte - 0x30)
  }
  return value
}

/// Lines that end with CRLF; a last one without it is a line too.
private struct LineReader {
  private var rest: Slice<UnsafeRawBufferPointer>

  init(_ bytes: UnsafeRawBufferPointer) { rest = bytes[...] }

  mutating func next() -> Slice<UnsafeRawBufferPointer>? {
    guard !rest.isEmpty else { return nil }
    guard let feed = rest.firstIndex(of: 0x0A) else {
      defer { rest = rest[rest.endIndex...] }
      return rest
    }
    var line = rest[..<feed]
    if line.last == 0x0D { line = line.dropLast() }
    rest = rest[(feed + 1)...]
    return line
  }
}
