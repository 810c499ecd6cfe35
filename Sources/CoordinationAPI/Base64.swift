/// Base64 of RFC 4648, section 4, with padding: for bytes that are no JSON.
package enum Base64 {
  private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  /// The value of each digit; 255 for what is none.
  private static let values: [UInt8] = {
    var values = [UInt8](repeating: 255, count: 256)
    for (value, digit) in digits.enumerated() { values[Int(digit)] = UInt8(value) }
    return values
  }()

  /// Writes bytes as text.
  package static func encode(_ bytes: [UInt8]) -> String {
    let count = (bytes.count + 2) / 3 * 4
    return String(unsafeUninitializedCapacity: count) { text in
      var place = 0
      for start in stride(from: 0, to: bytes.count, by: 3) {
        let left = bytes.count - start
        let first = UInt32(bytes[start]) << 16
        let second = left > 1 ? UInt32(bytes[start + 1]) << 8 : 0
        let group = first | second | (left > 2 ? UInt32(bytes[start + 2]) : 0)
        text[place] = digits[Int(group >> 18)]
        text[place + 1] = digits[Int(group >> 12 & 63)]
        text[place + 2] = left > 1 ? digits[Int(group >> 6 & 63)] : UInt8(ascii: "=")
        text[place + 3] = left > 2 ? digits[Int(group & 63)] : UInt8(ascii: "=")
        place += 4
      }
      return count
    }
  }

  /// Reads text; nil for what `encode` doesn't write.
  package static func decode(_ text: String) -> [UInt8]? {
    let text = Array(text.utf8)
    guard text.count.isMultiple(of: 4) else { return nil }
    let padding = text.reversed().prefix(2).prefix { $0 == UInt8(ascii: "=") }.count
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count / 4 * 3)
    for start in stride(from: 0, to: text.count, by: 4) {
      let isLast = start + 4 == text.count
      var group: UInt32 = 0
      for index in start..<start + 4 {
        let isPadding = isLast && index >= text.count - padding
        let value = isPadding ? 0 : values[Int(text[index])]
        guard value < 64 else { return nil }
        group = group << 6 | UInt32(value)
      }
      let whole = [
        UInt8(truncatingIfNeeded: group >> 16), UInt8(truncatingIfNeeded: group >> 8), UInt8(truncatingIfNeeded: group),
      ]
      let kept = isLast ? 3 - padding : 3
      // Bits beyond the last byte are zero in what is written: each value has one text.
      guard whole[kept...].allSatisfy({ $0 == 0 }) else { return nil }
      bytes += whole[..<kept]
    }
    return bytes
  }
}
