/// What a request is for: the path, and behind a `?` the query, as a request line has them.
package struct APITarget: Sendable {
  /// The path as it was sent, still with its `%2F` and the like.
  package let rawPath: String
  /// The query's pairs, decoded; of a name that comes twice the last.
  package let query: [String: String]

  /// Reads the target of a request line.
  package init(_ target: String) {
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    rawPath = parts.first.map(String.init) ?? ""
    var query: [String: String] = [:]
    for pair in parts.count == 2 ? parts[1].split(separator: "&") : [] {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      query[Self.decoded(sides[0])] = sides.count == 2 ? Self.decoded(sides[1]) : ""
    }
    self.query = query
  }

  /// The path, decoded.
  package var path: String { Self.decoded(rawPath[...]) }

  /// Undoes `%2F` and the like; what isn't one stays.
  static func decoded(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var left = text.utf8[...]
    while let byte = left.popFirst() {
      if byte == UInt8(ascii: "%"), left.count >= 2, let value = hexadecimal(left.prefix(2)) {
        bytes.append(value)
        left = left.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Writes what stands for itself in a part of a path or a query as it is, and the rest as `%2F` and the like.
  package static func encoded(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        result.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        result += byte < 16 ? "%0" : "%"
        result += String(byte, radix: 16, uppercase: true)
      }
    }
    return result
  }

  /// Two hexadecimal digits; a sign is none.
  private static func hexadecimal(_ digits: Substring.UTF8View.SubSequence) -> UInt8? {
    guard digits.first != UInt8(ascii: "+"), digits.first != UInt8(ascii: "-") else { return nil }
    return UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
  }
}
