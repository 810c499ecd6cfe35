import KubernetesCore

// In decision records moments and durations keep every nanosecond and stay readable: `2026-11-25T02:30:00.123456789Z`
// and `300s`. The codings of their own lose fractions (moments, as in `metav1.Time`) or can't be read by people
// (durations, two numbers of attoseconds). Synthesised codings in this module find these overloads; nothing else does.

extension KeyedEncodingContainer {
  mutating func encode(_ value: Timestamp, forKey key: Key) throws {
    try encode(ExactText.text(of: value), forKey: key)
  }

  mutating func encodeIfPresent(_ value: Timestamp?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) }
  }

  mutating func encode(_ value: Duration, forKey key: Key) throws {
    try encode(ExactText.text(of: value), forKey: key)
  }

  mutating func encodeIfPresent(_ value: Duration?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) }
  }
}

extension KeyedDecodingContainer {
  func decode(_ type: Timestamp.Type, forKey key: Key) throws -> Timestamp {
    let text = try decode(String.self, forKey: key)
    do {
      return try Timestamp(rfc3339: text)
    } catch {
      throw DecodingError.dataCorruptedError(forKey: key, in: self, debugDescription: error.description)
    }
  }

  func decodeIfPresent(_ type: Timestamp.Type, forKey key: Key) throws -> Timestamp? {
    guard contains(key), try !decodeNil(forKey: key) else { return nil }
    return try decode(type, forKey: key)
  }

  func decode(_ type: Duration.Type, forKey key: Key) throws -> Duration {
    let text = try decode(String.self, forKey: key)
    guard let duration = ExactText.duration(text) else {
      throw DecodingError.dataCorruptedError(
        forKey: key, in: self,
        debugDescription: "\"\(text.prefix(64))\" is no duration; it should be seconds such as \"300s\" or \"0.25s\"")
    }
    return duration
  }

  func decodeIfPresent(_ type: Duration.Type, forKey key: Key) throws -> Duration? {
    guard contains(key), try !decodeNil(forKey: key) else { return nil }
    return try decode(type, forKey: key)
  }
}

/// Texts that keep every digit of a moment or a duration.
enum ExactText {
  /// RFC 3339 in UTC with as many of nine fraction digits as are not zero.
  static func text(of moment: Timestamp) -> String {
    let whole = moment.rfc3339
    let seconds = moment.nanosecondsSinceEpoch.quotientAndRemainder(dividingBy: 1_000_000_000)
    let nanoseconds = seconds.remainder < 0 ? seconds.remainder + 1_000_000_000 : seconds.remainder
    guard nanoseconds != 0 else { return whole }
    return "\(whole.dropLast()).\(fraction(UInt64(nanoseconds), digits: 9))Z"
  }

  /// Decimal seconds with as many of eighteen fraction digits as are not zero, such as `-0.25s`.
  static func text(of duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    let sign = seconds < 0 || attoseconds < 0 ? "-" : ""
    guard attoseconds != 0 else { return "\(sign)\(seconds.magnitude)s" }
    return "\(sign)\(seconds.magnitude).\(fraction(attoseconds.magnitude, digits: 18))s"
  }

  /// Reads what `text(of:)` writes; nil for anything else.
  static func duration(_ text: String) -> Duration? {
    guard text.hasSuffix("s") else { return nil }
    let parts = text.dropLast().split(separator: ".", omittingEmptySubsequences: false)
    let isNegative = text.hasPrefix("-")
    guard (1...2).contains(parts.count), parts[0].first != "+", let seconds = Int64(parts[0]) else { return nil }
    var attoseconds: Int64 = 0
    if parts.count == 2 {
      guard parts[1].utf8.count <= 18, let digits = number(parts[1]) else { return nil }
      attoseconds = digits
      for _ in parts[1].utf8.count..<18 { attoseconds *= 10 }
    }
    return Duration(secondsComponent: seconds, attosecondsComponent: isNegative ? -attoseconds : attoseconds)
  }

  private static func number(_ digits: Substring) -> Int64? {
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
    return Int64(digits)
  }

  private static func fraction(_ value: UInt64, digits: Int) -> String {
    var text = String(value)
    text = String(repeating: "0", count: max(digits - text.utf8.count, 0)) + text
    while text.hasSuffix("0") { text.removeLast() }
    return text
  }
}
