/// Names of processes, agents and topics as parts of subjects and keys, which take letters, digits and `-_=/` only.
///
/// A name that needs nothing done to it stays as it is; in any other one each byte that isn't a letter, a digit, `-`, `_` or `/`
/// becomes `=` and two digits. Two names never become one: only the second kind has an `=`.
package enum PlaceName {
  /// The most bytes of a name in a subject: what engines take (256), less what stands before it.
  package static let bytes = 96

  /// The name as a part of a subject; with `dots` those that stand between tokens stay.
  ///
  /// Throws `tooLarge` for a name that is too long then.
  package static func encode(_ name: String, dots: Bool) throws(MessagingError) -> String {
    var text = ""
    if isPlain(name, dots: dots) {
      text = name
    } else {
      for byte in name.utf8 {
        if isLetter(byte) {
          text.unicodeScalars.append(Unicode.Scalar(byte))
        } else {
          let digits = String(byte, radix: 16)
          text += digits.utf8.count == 1 ? "=0\(digits)" : "=\(digits)"
        }
      }
    }
    guard !text.isEmpty, text.utf8.count <= bytes else {
      throw .tooLarge(
        "a name has 1 to \(bytes) letters, digits and -_/ (any other byte counts three times), not \"\(name.prefix(40))\""
      )
    }
    return text
  }

  /// The name that became `text`; nil: none did.
  package static func decode(_ text: some StringProtocol) -> String? {
    guard text.utf8.contains(UInt8(ascii: "=")) else { return String(text) }
    var bytes: [UInt8] = []
    var rest = Substring(text).utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "=") else {
        bytes.append(byte)
        continue
      }
      guard let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func isPlain(_ name: String, dots: Bool) -> Bool {
    let tokens = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard dots || tokens.count == 1 else { return false }
    return tokens.allSatisfy { !$0.isEmpty && $0.allSatisfy(isLetter) }
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "/"):
      true
    default: false
    }
  }
}
