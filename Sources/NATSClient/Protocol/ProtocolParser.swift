package import NIOCore

/// Cuts a stream of bytes into operations, however it was split on its way.
///
/// Bounded: a control line and a payload have limits, and no more than one unfinished operation is ever kept. After an error the parser
/// is spent; the connection has to be closed.
package struct ProtocolParser: Sendable {
  /// The limits of what is accepted.
  package struct Limits: Sendable, Hashable {
    /// Bytes of a control line without its CRLF. The server's own bound for clients is 4 KB, and what it sends has two subjects at most.
    package var line = 32 * 1024
    /// Bytes of an INFO line: it lists every server of the cluster.
    package var info = 1024 * 1024
    /// Bytes of headers and payload together: the largest `max_payload` that a server can be configured with, 64 MB.
    package var payload = 64 * 1024 * 1024

    /// The defaults.
    package init() {}
  }

  private let limits: Limits
  private var pending = ByteBuffer()
  /// Nothing can be cut off before this many bytes are there: a large payload isn't looked at again with each part that arrives.
  private var needed = 1
  /// Bytes of an unfinished line that have been searched for its end.
  private var searched = 0
  private var failure: NATSProtocolError?

  /// A parser at the start of a connection.
  package init(limits: Limits = Limits()) {
    self.limits = limits
  }

  /// Bytes that are kept for an unfinished operation.
  package var bufferedBytes: Int { pending.readableBytes }

  /// Takes bytes and appends the operations that are complete with them.
  package mutating func parse(
    _ bytes: ByteBuffer, into operations: inout [ServerOperation]
  ) throws(NATSProtocolError) {
    if let failure { throw failure }
    take(bytes)
    do throws(NATSProtocolError) {
      while pending.readableBytes >= needed, let operation = try next() {
        operations.append(operation)
      }
    } catch {
      failure = error
      pending = ByteBuffer()
      throw error
    }
    compact()
  }

  private mutating func take(_ bytes: ByteBuffer) {
    if pending.readableBytes == 0 {
      pending = bytes
    } else {
      // Room for the whole operation at once; the bound on payloads bounds it.
      pending.reserveCapacity(minimumWritableBytes: max(bytes.readableBytes, needed - pending.readableBytes))
      pending.writeImmutableBuffer(bytes)
    }
  }

  /// Moves an unfinished rest to a buffer of its own, so that messages that were handed out don't have their storage copied or pinned.
  private mutating func compact() {
    if pending.readableBytes == 0 {
      pending = ByteBuffer()
    } else if pending.readerIndex > 0 {
      var rest = ByteBuffer()
      rest.reserveCapacity(max(needed, pending.readableBytes + 512))
      rest.writeImmutableBuffer(pending)
      pending = rest
    }
  }

  private mutating func next() throws(NATSProtocolError) -> ServerOperation? {
    let start = pending.readerIndex
    guard let line = try lineEnd() else { return nil }
    let header = try pending.withUnsafeReadableBytes { bytes throws(NATSProtocolError) in
      try Self.control(UnsafeRawBufferPointer(rebasing: bytes[..<line.length]))
    }
    let body = start + line.length + line.terminator
    switch header {
    case .message(let head):
      return try message(head, body: body)
    case .info(let range):
      let json = pending.getSlice(at: start + range.lowerBound, length: range.count) ?? ByteBuffer()
      advance(to: body)
      return .info(json)
    case .simple(let operation):
      advance(to: body)
      return operation
    }
  }

  private mutating func advance(to index: Int) {
    pending.moveReaderIndex(to: index)
    searched = 0
    needed = 1
  }

  /// The length of the first line and of its end, nil while there is none.
  private mutating func lineEnd() throws(NATSProtocolError) -> (length: Int, terminator: Int)? {
    let from = searched
    let (found, isInfo, count) = pending.withUnsafeReadableBytes { bytes in
      var at = from
      while at < bytes.count, bytes[at] != 0x0A { at += 1 }
      let isInfo = bytes.count >= 4 && (bytes[0] | 0x20) == 0x69 && (bytes[1] | 0x20) == 0x6E
      return (at < bytes.count ? at : nil, isInfo, bytes.count)
    }
    let limit = isInfo ? limits.info : limits.line
    guard let found else {
      if count > limit + 1 { throw .lineTooLong }
      searched = count
      needed = count + 1
      return nil
    }
    let before = found > 0 ? pending.getInteger(at: pending.readerIndex + found - 1, as: UInt8.self) : nil
    let length = before == 0x0D ? found - 1 : found
    if length > limit { throw .lineTooLong }
    return (length, found - length + 1)
  }

  private struct MessageHead {
    var sid: UInt64
    var subject: Range<Int>
    var reply: Range<Int>?
    var headers: Int
    var total: Int
  }

  private enum Control {
    case message(MessageHead)
    case info(Range<Int>)
    case simple(ServerOperation)
  }

  private static func control(_ line: UnsafeRawBufferPointer) throws(NATSProtocolError) -> Control {
    switch line.first.map({ $0 | 0x20 }) {
    case 0x6D:  // m
      guard let rest = arguments(line, after: "MSG") else { throw .unknownOperation }
      return .message(try head(line, from: rest, hasHeaders: false))
    case 0x68:  // h
      guard let rest = arguments(line, after: "HMSG") else { throw .unknownOperation }
      return .message(try head(line, from: rest, hasHeaders: true))
    case 0x70:  // p
      if isExactly(line, "PING") { return .simple(.ping) }
      if isExactly(line, "PONG") { return .simple(.pong) }
    case 0x69:  // i
      if let rest = arguments(line, after: "INFO") { return .info(rest..<line.count) }
    case 0x2B:
      if isExactly(line, "+OK") { return .simple(.ok) }
    case 0x2D:
      if let rest = arguments(line, after: "-ERR") {
        var text = line[rest...].drop { $0 == 0x20 || $0 == 0x27 }
        while let last = text.last, last == 0x27 || last == 0x20 { text = text.dropLast() }
        return .simple(.error(String(decoding: text, as: UTF8.self)))
      }
    default: break
    }
    throw .unknownOperation
  }

  private static func isExactly(_ line: UnsafeRawBufferPointer, _ verb: StaticString) -> Bool {
    guard let rest = prefix(line, verb) else { return false }
    return line[rest...].allSatisfy { $0 == 0x20 || $0 == 0x09 }
  }

  private static func arguments(_ line: UnsafeRawBufferPointer, after verb: StaticString) -> Int? {
    guard let rest = prefix(line, verb), rest < line.count, line[rest] == 0x20 || line[rest] == 0x09 else { return nil }
    return rest + 1
  }

  /// Verbs are case-insensitive.
  private static func prefix(_ line: UnsafeRawBufferPointer, _ verb: StaticString) -> Int? {
    let count = verb.utf8CodeUnitCount
    guard line.count >= count else { return nil }
    for at in 0..<count {
      let expected = verb.utf8Start[at]
      let isLetter = expected >= 0x41 && expected <= 0x5A
      guard line[at] == expected || (isLetter && line[at] == expected | 0x20) else { return nil }
    }
    return count
  }

  private static func head(
    _ line: UnsafeRawBufferPointer, from start: Int, hasHeaders: Bool
  ) throws(NATSProtocolError) -> MessageHead {
    // subject sid [reply] [header size] size: five words at most; a sixth one is an error.
    var words: (Range<Int>, Range<Int>, Range<Int>, Range<Int>, Range<Int>) = (0..<0, 0..<0, 0..<0, 0..<0, 0..<0)
    var count = 0
    var at = start
    while at < line.count {
      while at < line.count, line[at] == 0x20 || line[at] == 0x09 { at += 1 }
      let begin = at
      while at < line.count, line[at] != 0x20, line[at] != 0x09 { at += 1 }
      guard at > begin else { break }
      switch count {
      case 0: words.0 = begin..<at
      case 1: words.1 = begin..<at
      case 2: words.2 = begin..<at
      case 3: words.3 = begin..<at
      case 4: words.4 = begin..<at
      default: throw .malformedArguments
      }
      count += 1
    }
    let numbers = hasHeaders ? 2 : 1
    guard count == 2 + numbers || count == 3 + numbers, let sid = parseDecimal(line[words.1]) else {
      throw .malformedArguments
    }
    let hasReply = count == 3 + numbers
    let first = hasReply ? words.3 : words.2
    let last = hasReply ? (hasHeaders ? words.4 : words.3) : (hasHeaders ? words.3 : words.2)
    guard let headers = hasHeaders ? parseDecimal(line[first]) : 0, let total = parseDecimal(line[last]),
      headers <= total
    else { throw .malformedArguments }
    return MessageHead(
      sid: sid, subject: words.0, reply: hasReply ? words.2 : nil, headers: Int(headers), total: Int(total))
  }

  private mutating func message(_ head: MessageHead, body: Int) throws(NATSProtocolError) -> ServerOperation? {
    guard head.total <= limits.payload else { throw .payloadTooLarge(head.total) }
    let start = pending.readerIndex
    let end = body + head.total + 2
    guard pending.writerIndex >= end else {
      needed = end - start
      searched = 0
      return nil
    }
    guard pending.getInteger(at: end - 2, as: UInt16.self) == 0x0D0A else { throw .missingTerminator }
    let (subject, reply, parsed) = try pending.withUnsafeReadableBytes { bytes throws(NATSProtocolError) in
      let text = { (range: Range<Int>) in String(decoding: bytes[range], as: UTF8.self) }
      let parsed: (NATSHeaders, NATSStatus?) =
        head.headers == 0
        ? ([:], nil)
        : try NATSHeaders.parse(
          UnsafeRawBufferPointer(rebasing: bytes[(body - start)..<(body - start + head.headers)]))
      return (text(head.subject), head.reply.map(text), parsed)
    }
    let payload = pending.getSlice(at: body + head.headers, length: head.total - head.headers) ?? ByteBuffer()
    advance(to: end)
    return .message(
      sid: head.sid,
      NATSMessage(subject: subject, reply: reply, headers: parsed.0, status: parsed.1, payload: payload))
  }
}
