/// A message as it stands in a frame.
package struct FramedMessage: Hashable, Sendable {
  /// What it is about.
  package var kind: MessageClass
  /// How urgent it is.
  package var lane: MessageLane
  /// Its content.
  package var payload: [UInt8]

  /// Puts a message together.
  package init(kind: MessageClass, lane: MessageLane, payload: [UInt8]) {
    self.kind = kind
    self.lane = lane
    self.payload = payload
  }
}

/// The fixed part of a frame; all numbers are little-endian.
///
/// ```
/// 0  "SF"        2 bytes
/// 2  version     1 byte
/// 3  encoding    1 byte    of the payloads
/// 4  dictionary  4 bytes   its id, 0 for none
/// 8  messages    2 bytes
/// 10 reserved    2 bytes   zero; a reader of version 1 refuses anything else
/// 12 stored      4 bytes   bytes of the payloads as they travel
/// 16 checksum    4 bytes   CRC-32C of all other bytes of the frame
/// 20 index       of each message a byte (class in the low 6 bits, lane in the high 2) and its inflated length (LEB128)
///    payloads    one after another, packed as one
/// ```
///
/// The index isn't packed: a reader knows the size of everything before it unpacks anything, and holds it against its
/// limits. All payloads are packed as one, since small messages have more in common with each other than with themselves.
struct FrameHeader {
  static let size = 20
  static let version: UInt8 = 1
  static let checksumOffset = 16
}

/// Frames with one or several messages.
package struct FrameCodec: Sendable {
  /// What is taken and made.
  package let limits: FrameLimits
  private let compressor: (any FrameCompressor)?

  /// Makes a codec; without a compressor frames are made raw, and others are refused.
  package init(limits: FrameLimits = FrameLimits(), compressor: (any FrameCompressor)? = nil) {
    self.limits = limits
    self.compressor = compressor
  }

  /// Whether a message may stand in a frame of its own.
  package func check(_ kind: MessageClass, bytes: Int) throws(FrameError) {
    let limit = min(limits[kind], limits.inflatedBytes, limits.storedBytes - FrameHeader.size - 6)
    guard bytes <= limit else { throw .messageTooLarge(kind: kind, bytes: bytes, limit: limit) }
  }

  /// Makes a frame.
  ///
  /// Throws `messageCount`, `messageTooLarge` or `frameTooLarge`.
  package func encode(_ messages: [FramedMessage]) throws(FrameError) -> [UInt8] {
    guard (1...limits.messages).contains(messages.count) else {
      throw .messageCount(messages.count, limit: limits.messages)
    }
    var total = 0
    for message in messages {
      try check(message.kind, bytes: message.payload.count)
      total += message.payload.count
    }
    guard total <= limits.inflatedBytes else { throw .frameTooLarge(bytes: total, limit: limits.inflatedBytes) }
    let packed = pack(messages, total: total)
    let stored = packed?.bytes.count ?? total
    var frame: [UInt8] = []
    frame.reserveCapacity(FrameHeader.size + messages.count * 6 + stored)
    frame += [UInt8(ascii: "S"), UInt8(ascii: "F"), FrameHeader.version, (packed?.encoding ?? .raw).rawValue]
    frame.append(littleEndian: packed?.dictionary ?? 0)
    frame.append(littleEndian: UInt16(messages.count))
    frame.append(littleEndian: UInt16(0))
    frame.append(littleEndian: UInt32(stored))
    frame.append(littleEndian: UInt32(0))
    for message in messages {
      frame.append(message.kind.rawValue | message.lane.rawValue << 6)
      frame.append(varint: UInt64(message.payload.count))
    }
    if let packed {
      frame += packed.bytes
    } else {
      for message in messages { frame += message.payload }
    }
    guard frame.count <= limits.storedBytes else {
      throw .frameTooLarge(bytes: frame.count, limit: limits.storedBytes)
    }
    let sum = Self.checksum(frame)
    for shift in 0..<4 {
      frame[FrameHeader.checksumOffset + shift] = UInt8(truncatingIfNeeded: sum >> UInt32(shift * 8))
    }
    return frame
  }

  /// Reads a frame. Whatever the bytes are, it takes no more memory than the limits allow.
  package func decode(_ frame: [UInt8]) throws(FrameError) -> [FramedMessage] {
    guard frame.count <= limits.storedBytes else {
      throw .frameTooLarge(bytes: frame.count, limit: limits.storedBytes)
    }
    guard frame.count >= FrameHeader.size else { throw .truncated(expected: FrameHeader.size, actual: frame.count) }
    guard frame[0] == UInt8(ascii: "S"), frame[1] == UInt8(ascii: "F") else { throw .notAFrame }
    guard frame[2] == FrameHeader.version else { throw .unknownVersion(frame[2]) }
    var reader = ByteReader(frame)
    reader.position = FrameHeader.checksumOffset
    guard reader.littleEndian(UInt32.self) == Self.checksum(frame) else { throw .checksumMismatch }
    guard let encoding = FrameEncoding(rawValue: frame[3]) else { throw .malformed("encoding \(frame[3])") }
    reader.position = 4
    let dictionary = reader.littleEndian(UInt32.self) ?? 0
    let count = Int(reader.littleEndian(UInt16.self) ?? 0)
    guard reader.littleEndian(UInt16.self) == 0 else { throw .malformed("a reserved field is in use") }
    let stored = Int(reader.littleEndian(UInt32.self) ?? 0)
    guard (1...limits.messages).contains(count) else { throw .messageCount(count, limit: limits.messages) }
    reader.position = FrameHeader.size
    let index = try readIndex(&reader, count: count)
    guard reader.position + stored == frame.count else {
      throw .truncated(expected: reader.position + stored, actual: frame.count)
    }
    let total = index.reduce(0) { $0 + $1.bytes }
    let packed = reader.position
    if encoding == .raw {
      guard dictionary == 0, stored == total else { throw .malformed("\(stored) bytes stored for \(total)") }
      return split(frame, at: packed, index)
    }
    let inflated = try inflate(frame[packed...], encoding: encoding, dictionary: dictionary, size: total)
    return split(inflated, at: 0, index)
  }

  private struct Entry {
    var kind: MessageClass
    var lane: MessageLane
    var bytes: Int
  }

  private func readIndex(_ reader: inout ByteReader, count: Int) throws(FrameError) -> [Entry] {
    var index: [Entry] = []
    index.reserveCapacity(count)
    var total = 0
    for _ in 0..<count {
      guard let tag = reader.byte(), let bytes = reader.varint() else { throw .malformed("the index ends early") }
      guard let kind = MessageClass(rawValue: tag & 0x3f), let lane = MessageLane(rawValue: tag >> 6) else {
        throw .malformed("class \(tag & 0x3f)")
      }
      guard bytes <= UInt64(limits[kind]) else {
        throw .messageTooLarge(kind: kind, bytes: Int(clamping: bytes), limit: limits[kind])
      }
      total += Int(bytes)
      guard total <= limits.inflatedBytes else { throw .frameTooLarge(bytes: total, limit: limits.inflatedBytes) }
      index.append(Entry(kind: kind, lane: lane, bytes: Int(bytes)))
    }
    return index
  }

  private func pack(_ messages: [FramedMessage], total: Int) -> CompressedPayload? {
    guard let compressor else { return nil }
    if messages.count == 1 { return messages[0].payload.withUnsafeBytes { compressor.compress($0) } }
    var body: [UInt8] = []
    body.reserveCapacity(total)
    for message in messages { body += message.payload }
    return body.withUnsafeBytes { compressor.compress($0) }
  }

  private func inflate(
    _ bytes: ArraySlice<UInt8>, encoding: FrameEncoding, dictionary: UInt32, size: Int
  ) throws(FrameError) -> [UInt8] {
    guard let compressor else { throw .malformed("this receiver takes no packed frames") }
    var outcome = Result<Void, FrameError>.success(())
    let inflated = [UInt8](unsafeUninitializedCapacity: size) { output, written in
      outcome = bytes.withUnsafeBytes { input in
        Result { () throws(FrameError) in
          try compressor.decompress(
            input, encoding: encoding, dictionary: dictionary,
            into: UnsafeMutableRawBufferPointer(start: output.baseAddress, count: size))
        }
      }
      // Where unpacking failed nobody may see what is there.
      if case .success = outcome { written = size }
    }
    try outcome.get()
    return inflated
  }

  private func split(_ bytes: [UInt8], at start: Int, _ index: [Entry]) -> [FramedMessage] {
    var position = start
    return index.map { entry in
      defer { position += entry.bytes }
      return FramedMessage(
        kind: entry.kind, lane: entry.lane, payload: Array(bytes[position..<position + entry.bytes]))
    }
  }

  private static func checksum(_ frame: [UInt8]) -> UInt32 {
    frame.withUnsafeBytes { bytes in
      let head = Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<FrameHeader.checksumOffset]))
      return Checksum.crc32c(
        UnsafeRawBufferPointer(rebasing: bytes[(FrameHeader.checksumOffset + 4)...]), after: head)
    }
  }
}
