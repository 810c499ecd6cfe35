/// Reads the values of response headers. Pure: text in, numbers out; nil for what makes no sense.
package enum HeaderValue {
  /// A whole number, such as `4000`.
  package static func integer(_ text: String) -> Int64? {
    Int64(trimmed(text))
  }

  /// An instant: RFC 3339 with Z or an offset and any fraction, seconds since the epoch (whole or not), or an HTTP date.
  package static func instant(_ text: String) -> WallTime? {
    let value = trimmed(text)
    if let milliseconds = decimal(value, scale: 3) {
      guard milliseconds > 0 else { return nil }
      // Seconds until the year 5138; what is larger was given in milliseconds.
      return WallTime(milliseconds: milliseconds > 100_000_000_000_000 ? milliseconds / 1000 : milliseconds)
    }
    return rfc3339(value) ?? httpDate(value)
  }

  /// The wait of a `retry-after` header: seconds (whole or not) or an HTTP date, which is compared with the response's
  /// own `date`. Nil when it is unreadable or negative: then the header counts as absent. A date that has passed is 0.
  package static func retryAfter(_ text: String, date: WallTime?) -> Duration? {
    let value = trimmed(text)
    if let milliseconds = decimal(value, scale: 3) {
      return milliseconds < 0 ? nil : .milliseconds(milliseconds)
    }
    guard let instant = httpDate(value) ?? rfc3339(value), let date else { return nil }
    return max(.zero, instant - date)
  }

  /// The wait of a `retry-after-ms` header.
  package static func retryAfterMilliseconds(_ text: String) -> Duration? {
    guard let microseconds = decimal(trimmed(text), scale: 3), microseconds >= 0 else { return nil }
    return .microseconds(microseconds)
  }

  /// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
  package static func httpDate(_ text: String) -> WallTime? {
    let words = trimmed(text).split(separator: " ")
    guard words.count == 6, words[5] == "GMT" || words[5] == "UTC",
      let day = Int64(words[1]), let month = months.firstIndex(of: words[2].lowercased()),
      let year = Int64(words[3])
    else { return nil }
    let clock = words[4].split(separator: ":").compactMap { Int64($0) }
    guard clock.count == 3 else { return nil }
    return instant(year, Int64(month + 1), day, clock[0], clock[1], clock[2])
  }

  private static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

  /// The text without blanks around it. By bytes, as each answer has a dozen of these headers.
  private static func trimmed(_ text: String) -> String {
    let isWord: (UInt8) -> Bool = { $0 != 0x20 && $0 != 0x09 }
    let bytes = text.utf8
    guard let first = bytes.firstIndex(where: isWord), let last = bytes.lastIndex(where: isWord) else { return "" }
    return String(text[first...last])
  }

  /// A decimal number times 10^scale; further digits are cut off. Held at the ends of the range.
  private static func decimal(_ text: String, scale: Int) -> Int64? {
    var digits = Substring(text)
    let isNegative = digits.first == "-"
    if isNegative || digits.first == "+" { digits = digits.dropFirst() }
    let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let whole = parts.first, !whole.isEmpty,
      digits.allSatisfy({ $0 == "." || ("0"..."9").contains($0) })
    else { return nil }
    var value: Int64 = 0
    let fraction = parts.count == 2 ? parts[1].prefix(scale) : ""
    for digit in whole + fraction + String(repeating: "0", count: scale - fraction.count) {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      guard !overflow, let number = digit.wholeNumberValue else { return isNegative ? .min : .max }
      value = product.addingSaturated(Int64(number))
    }
    return isNegative ? -value : value
  }

  private static func rfc3339(_ text: String) -> WallTime? {
    let bytes = Array(text.utf8)
    func number(_ range: Range<Int>) -> Int64? {
      guard range.upperBound <= bytes.count else { return nil }
      var value: Int64 = 0
      for byte in bytes[range] {
        guard (48...57).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - 48)
      }
      return value
    }
    guard bytes.count >= 20, bytes[4] == 45, bytes[7] == 45, [84, 116, 32].contains(bytes[10]), bytes[13] == 58,
      bytes[16] == 58, let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
      let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19)
    else { return nil }
    var place = 19
    var milliseconds: Int64 = 0
    if bytes[place] == 46 {
      place += 1
      var weight: Int64 = 100
      let start = place
      while place < bytes.count, (48...57).contains(bytes[place]) {
        milliseconds += Int64(bytes[place] - 48) * weight
        weight /= 10
        place += 1
      }
      guard place > start else { return nil }
    }
    guard place < bytes.count, let offset = offsetMinutes(bytes[place...]),
      let base = instant(year, month, day, hour, minute, second)
    else { return nil }
    return WallTime(milliseconds: base.milliseconds + milliseconds - offset * 60_000)
  }

  private static func offsetMinutes(_ zone: ArraySlice<UInt8>) -> Int64? {
    let bytes = Array(zone)
    if bytes == [90] || bytes == [122] { return 0 }
    guard bytes.count == 6, bytes[0] == 43 || bytes[0] == 45, bytes[3] == 58 else { return nil }
    let digits = [bytes[1], bytes[2], bytes[4], bytes[5]]
    guard digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
    let values = digits.map { Int64($0 - 48) }
    let minutes = (values[0] * 10 + values[1]) * 60 + values[2] * 10 + values[3]
    return bytes[0] == 45 ? -minutes : minutes
  }

  /// Days are counted by Howard Hinnant's days_from_civil. A leap second counts as the last second of its minute.
  private static func instant(
    _ year: Int64, _ month: Int64, _ day: Int64, _ hour: Int64, _ minute: Int64, _ second: Int64
  ) -> WallTime? {
    guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day), (0...23).contains(hour),
      (0...59).contains(minute), (0...60).contains(second)
    else { return nil }
    let shifted = month <= 2 ? year - 1 : year
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + min(second, 59)
    return WallTime(milliseconds: seconds * 1000)
  }
}
