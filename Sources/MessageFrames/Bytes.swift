extension [UInt8] {
  /// Appends a number, its lowest byte first.
  package mutating func append(littleEndian value: some FixedWidthInteger) {
    for shift in stride(from: 0, to: value.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  /// Appends a number in groups of seven bits, the lowest first (LEB128).
  package mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(rest))
  }

  /// Appends a text of up to 65,535 bytes behind its length; longer ones are the caller's mistake.
  package mutating func append(text: String) {
    var text = text
    text.withUTF8 { bytes in
      precondition(bytes.count <= Int(UInt16.max), "texts of frames are short")
      append(varint: UInt64(bytes.count))
      append(contentsOf: bytes)
    }
  }
}

/// Reads bytes from front to back; what isn't there is nil.
package struct ByteReader {
  private let bytes: [UInt8]
  /// Where it reads next.
  package var position = 0

  /// Reads `bytes`.
  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// What is left.
  package var remaining: ArraySlice<UInt8> { bytes[min(position, bytes.count)...] }

  /// The next byte.
  package mutating func byte() -> UInt8? {
    guard position < bytes.count else { return nil }
    defer { position += 1 }
    return bytes[position]
  }

  /// A number of fixed size.
  package mutating func littleEndian<Number: FixedWidthInteger>(_: Number.Type) -> Number? {
    let size = Number.bitWidth / 8
    guard position + size <= bytes.count else { return nil }
    var value: Number = 0
    for index in 0..<size { value |= Number(truncatingIfNeeded: bytes[position + index]) << Number(index * 8) }
    position += size
    return value
  }

  /// A number in groups of seven bits; nil also where it is longer than 64 bits, or padded.
  package mutating func varint() -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), through: 63, by: 7) {
      guard let byte = byte() else { return nil }
      let part = UInt64(byte & 0x7f)
      guard (part << shift) >> shift == part else { return nil }
      value |= part << shift
      if byte & 0x80 == 0 { return byte == 0 && shift > 0 ? nil : value }
    }
    return nil
  }

  /// A text behind its length, of at most `limit` bytes; nil also where it isn't UTF-8.
  package mutating func text(limit: Int) -> String? {
    guard let count = varint(), count <= UInt64(limit), position + Int(count) <= bytes.count else { return nil }
    let slice = bytes[position..<position + Int(count)]
    position += Int(count)
    return String(validating: slice, as: UTF8.self)
  }
}
