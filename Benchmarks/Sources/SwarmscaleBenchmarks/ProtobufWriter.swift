/// Writes protobuf fields by number: the whole of a pod, of which the product's own messages know only a part.
struct ProtobufWriter {
  /// What was written.
  private(set) var bytes: [UInt8] = []

  /// A text.
  mutating func text(_ field: Int, _ value: String) { blob(field, Array(value.utf8)) }

  /// A whole number that is not negative.
  mutating func number(_ field: Int, _ value: Int) {
    varint(UInt64(field) << 3)
    varint(UInt64(value))
  }

  /// A message.
  mutating func message(_ field: Int, _ write: (inout ProtobufWriter) -> Void) {
    var inner = ProtobufWriter()
    write(&inner)
    blob(field, inner.bytes)
  }

  /// An entry of a map from text to text.
  mutating func entry(_ field: Int, _ key: String, _ value: String) {
    message(field) {
      $0.text(1, key)
      $0.text(2, value)
    }
  }

  /// An entry of a map from text to quantity.
  mutating func quantity(_ field: Int, _ key: String, _ value: String) {
    message(field) {
      $0.text(1, key)
      $0.message(2) { $0.text(1, value) }
    }
  }

  /// A time.
  mutating func time(_ field: Int, _ secondsSinceEpoch: Int) {
    message(field) {
      $0.number(1, secondsSinceEpoch)
      $0.number(2, 0)
    }
  }

  /// Bytes, such as a message that is already there.
  mutating func blob(_ field: Int, _ value: [UInt8]) {
    varint(UInt64(field) << 3 | 2)
    varint(UInt64(value.count))
    bytes += value
  }

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}
