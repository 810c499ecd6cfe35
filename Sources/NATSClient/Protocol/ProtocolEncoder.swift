package import NIOCore

/// Writes a client's operations. Arguments have to be valid: see `NATSSubject`.
package enum ProtocolEncoder {
  /// PUB, or HPUB when there are headers.
  package static func publish(
    subject: String, reply: String?, headers: NATSHeaders, payload: ByteBuffer, into buffer: inout ByteBuffer
  ) {
    let length = payload.readableBytes
    if headers.isEmpty {
      buffer.writeStaticString("PUB ")
      buffer.writeString(subject)
      if let reply {
        buffer.writeInteger(space)
        buffer.writeString(reply)
      }
      buffer.writeInteger(space)
      writeDecimal(length, into: &buffer)
      buffer.writeStaticString("\r\n")
    } else {
      let headerSize = headers.encodedSize
      buffer.writeStaticString("HPUB ")
      buffer.writeString(subject)
      if let reply {
        buffer.writeInteger(space)
        buffer.writeString(reply)
      }
      buffer.writeInteger(space)
      writeDecimal(headerSize, into: &buffer)
      buffer.writeInteger(space)
      writeDecimal(headerSize + length, into: &buffer)
      buffer.writeStaticString("\r\n")
      headers.encode(into: &buffer)
    }
    buffer.writeImmutableBuffer(payload)
    buffer.writeStaticString("\r\n")
  }

  /// What `publish` will write, without the digits' exact number.
  package static func estimatedSize(subject: String, reply: String?, headers: NATSHeaders, payload: Int) -> Int {
    payload + subject.utf8.count + (reply?.utf8.count ?? 0) + (headers.isEmpty ? 0 : headers.encodedSize) + 24
  }

  /// SUB, to a queue group where one is named.
  package static func subscribe(sid: UInt64, subject: String, queue: String?, into buffer: inout ByteBuffer) {
    buffer.writeStaticString("SUB ")
    buffer.writeString(subject)
    if let queue {
      buffer.writeInteger(space)
      buffer.writeString(queue)
    }
    buffer.writeInteger(space)
    writeDecimal(Int(sid), into: &buffer)
    buffer.writeStaticString("\r\n")
  }

  /// UNSUB, at once or after so many messages in all since the SUB on this connection.
  package static func unsubscribe(sid: UInt64, after: Int? = nil, into buffer: inout ByteBuffer) {
    buffer.writeStaticString("UNSUB ")
    writeDecimal(Int(sid), into: &buffer)
    if let after {
      buffer.writeInteger(space)
      writeDecimal(after, into: &buffer)
    }
    buffer.writeStaticString("\r\n")
  }

  /// PING.
  package static func ping(into buffer: inout ByteBuffer) { buffer.writeStaticString("PING\r\n") }

  /// PONG.
  package static func pong(into buffer: inout ByteBuffer) { buffer.writeStaticString("PONG\r\n") }

  /// CONNECT with its JSON.
  package static func connect(_ options: JSONValue, into buffer: inout ByteBuffer) {
    buffer.writeStaticString("CONNECT ")
    buffer.writeString(options.text)
    buffer.writeStaticString("\r\n")
  }

  private static let space: UInt8 = 0x20

  /// Without the String that `writeString("\(value)")` would allocate: twice in each message.
  private static func writeDecimal(_ value: Int, into buffer: inout ByteBuffer) {
    var value = UInt64(max(0, value))
    var digits: (UInt64, UInt64, UInt32) = (0, 0, 0)
    withUnsafeMutableBytes(of: &digits) { bytes in
      var at = bytes.count
      repeat {
        at -= 1
        bytes[at] = UInt8(0x30 + value % 10)
        value /= 10
      } while value > 0
      buffer.writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[at...]))
    }
  }
}

/// Rules for subjects.
package enum NATSSubject {
  /// Whether something can be published to it: tokens between dots, none empty, no blanks, no wildcards.
  package static func isPublishable(_ subject: String) -> Bool { check(subject, wildcards: false) }

  /// Whether it can be subscribed to: `*` as a whole token, `>` as the last one.
  package static func isSubscribable(_ subject: String) -> Bool { check(subject, wildcards: true) }

  private static func check(_ subject: String, wildcards: Bool) -> Bool {
    var isEmpty = true
    var isWild = false
    var isTail = false
    for byte in subject.utf8 {
      if isTail { return false }
      switch byte {
      case 0x2E:
        if isEmpty { return false }
        isEmpty = true
        isWild = false
        continue
      case 0...0x20, 0x7F: return false
      case 0x2A, 0x3E:
        // Inside a longer token they are plain characters; alone they are wildcards.
        if isEmpty {
          isWild = true
          if byte == 0x3E { isTail = true }
        }
      default: if isWild { isWild = false }
      }
      if isWild && !wildcards { return false }
      isEmpty = false
    }
    return !isEmpty
  }
}
