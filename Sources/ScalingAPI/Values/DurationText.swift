import KubernetesCore

/// A text that is not a duration.
package struct DurationTextError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The offending text, cut to 64 characters.
  package var text: String

  package var description: String {
    "\"\(text)\" is not a duration. Write numbers with the units h, m, s or ms, such as \"30m\", \"1h30m\" or \"45s\"."
  }
}

extension Duration {
  /// Reads a duration as Go writes it, without a sign: `30m`, `1h30m`, `1.5s`, `250ms`, `0s`; at most 1000 days.
  package init(goText text: String) throws(DurationTextError) {
    let failure = DurationTextError(text: String(text.prefix(64)))
    var rest = Array(text.utf8)[...]
    var total: Int128 = 0
    let limit: Int128 = 1000 * 86_400 * 1_000_000_000
    if rest.isEmpty { throw failure }
    while !rest.isEmpty {
      let whole = Self.takeDigits(&rest)
      var fraction: ArraySlice<UInt8> = []
      if !whole.isEmpty, rest.first == UInt8(ascii: ".") {
        rest = rest.dropFirst()
        fraction = Self.takeDigits(&rest)
        if fraction.isEmpty { throw failure }
      }
      let unit = rest.prefix { $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") }
      rest = rest.dropFirst(unit.count)
      guard (1...9).contains(whole.count), fraction.count <= 9,
        let nanoseconds = Self.nanoseconds(ofUnit: String(decoding: unit, as: UTF8.self))
      else { throw failure }
      total += Self.number(whole) * nanoseconds
      var scale: Int128 = 1
      for _ in fraction { scale *= 10 }
      total += Self.number(fraction) * nanoseconds / scale
      if total > limit { throw failure }
    }
    self = .nanoseconds(Int64(clamping: total))
  }

  /// The duration as Go writes it, rounded down to milliseconds; empty parts are left out: `1h30m`, `45s`, `0s`.
  package var goText: String {
    var milliseconds = max(0, nanosecondsClamped / 1_000_000)
    var text = ""
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] as [(String, Int64)] {
      let (count, remainder) = milliseconds.quotientAndRemainder(dividingBy: size)
      if count > 0 { text += "\(count)\(unit)" }
      milliseconds = remainder
    }
    return text.isEmpty ? "0s" : text
  }

  private static func takeDigits(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let digits = rest.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    rest = rest.dropFirst(digits.count)
    return digits
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> Int128 {
    digits.reduce(0) { $0 * 10 + Int128($1 - UInt8(ascii: "0")) }
  }

  private static func nanoseconds(ofUnit unit: String) -> Int128? {
    switch unit {
    case "h": 3_600_000_000_000
    case "m": 60_000_000_000
    case "s": 1_000_000_000
    case "ms": 1_000_000
    default: nil
    }
  }
}
