/// A `metadata.uid` in the form that takes the least memory: API servers give UUIDs, which are 16 bytes as numbers and
/// 80 as a text on the heap.
package struct PackedUID: Hashable, Sendable {
  private enum Content: Hashable {
    /// A UUID in its usual spelling, the first half and the second.
    case uuid(UInt64, UInt64)
    /// Anything else.
    case text(String)
  }

  private let content: Content

  /// Packs a UID.
  package init(_ text: String) {
    content = Self.halves(of: text).map { .uuid($0.0, $0.1) } ?? .text(text)
  }

  /// The UID as it was given.
  package var text: String {
    switch content {
    case .text(let text): return text
    case .uuid(let first, let second):
      return String(unsafeUninitializedCapacity: 36) { buffer in
        var length = 0
        for index in 0..<32 {
          if Self.dashes.contains(index) {
            buffer[length] = UInt8(ascii: "-")
            length += 1
          }
          let half = index < 16 ? first : second
          let digit = UInt8(truncatingIfNeeded: half >> UInt64(60 - index % 16 * 4)) & 0xF
          buffer[length] = digit + (digit < 10 ? 0x30 : 0x57)
          length += 1
        }
        return length
      }
    }
  }

  /// Before which of the 32 digits a dash stands.
  private static let dashes = [8, 12, 16, 20]

  /// The number behind a UUID in lower case with its dashes; nil for any other text, which must come back as it was.
  private static func halves(of text: String) -> (UInt64, UInt64)? {
    guard text.utf8.count == 36 else { return nil }
    var halves: (UInt64, UInt64) = (0, 0)
    var digits = 0
    for (offset, byte) in text.utf8.enumerated() {
      if [8, 13, 18, 23].contains(offset) {
        guard byte == UInt8(ascii: "-") else { return nil }
        continue
      }
      let digit: UInt8
      switch byte {
      case 0x30...0x39: digit = byte - 0x30
      case 0x61...0x66: digit = byte - 0x57
      default: return nil
      }
      if digits < 16 { halves.0 = halves.0 << 4 | UInt64(digit) } else { halves.1 = halves.1 << 4 | UInt64(digit) }
      digits += 1
    }
    return halves
  }
}
