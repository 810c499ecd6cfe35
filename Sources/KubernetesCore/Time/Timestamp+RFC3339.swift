/// A text that is not an RFC 3339 moment.
package struct TimestampError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The offending text, cut to 64 characters.
  package var text: String

  /// Names the text.
  package init(text: String) { self.text = String(text.prefix(64)) }

  package var description: String {
    "\"\(text)\" is not an RFC 3339 time. Write it like \"2026-11-25T01:30:00Z\" or \"2026-11-25T02:30:00.5+01:00\"."
  }
}

extension Timestamp {
  /// Reads an RFC 3339 moment with `Z` or an offset and any number of fraction digits (beyond nine they are cut off).
  ///
  /// A moment outside the type's range saturates: Go's zero time of the year 1 becomes the earliest moment.
  package init(rfc3339 text: some StringProtocol) throws(TimestampError) {
    var reader = DigitReader(bytes: Array(text.utf8))
    guard
      let year = reader.number(digits: 4), reader.take("-"),
      let month = reader.number(digits: 2), reader.take("-"),
      let day = reader.number(digits: 2), reader.take("Tt"),
      let hour = reader.number(digits: 2), reader.take(":"),
      let minute = reader.number(digits: 2), reader.take(":"),
      let second = reader.number(digits: 2),
      (1...12).contains(month), day >= 1, day <= CivilDate.daysIn(month: month, year: year),
      hour <= 23, minute <= 59, second <= 59,
      let nanoseconds = reader.fraction(),
      let offset = reader.offsetSeconds(), reader.isAtEnd
    else { throw TimestampError(text: String(text)) }
    let days = CivilDate(year: year, month: month, day: day).daysSinceEpoch
    let seconds = Int64(days) * 86_400 + Int64(hour * 3_600 + minute * 60 + second - offset)
    let total = Int128(seconds) * 1_000_000_000 + Int128(nanoseconds)
    self.init(nanosecondsSinceEpoch: Int64(clamping: total))
  }

  /// RFC 3339 in UTC with whole seconds, rounded down, as `metav1.Time` is written.
  package var rfc3339: String { civilText + "Z" }

  /// RFC 3339 in UTC with six fraction digits, rounded down, as `metav1.MicroTime` is written.
  package var rfc3339Micro: String {
    let nanoseconds = nanosecondsSinceEpoch - secondsSinceEpoch &* 1_000_000_000
    return civilText + "." + padded(Int(nanoseconds / 1_000), to: 6) + "Z"
  }

  private var civilText: String {
    let seconds = secondsSinceEpoch
    var days = seconds / 86_400
    var rest = seconds % 86_400
    if rest < 0 {
      days -= 1
      rest += 86_400
    }
    let date = CivilDate(daysSinceEpoch: Int(days))
    let time = Int(rest)
    return padded(date.year, to: 4) + "-" + padded(date.month, to: 2) + "-" + padded(date.day, to: 2) + "T"
      + padded(time / 3_600, to: 2) + ":" + padded(time / 60 % 60, to: 2) + ":" + padded(time % 60, to: 2)
  }

  /// Reads an HTTP date in its preferred form, such as `Sun, 06 Nov 1994 08:49:37 GMT`; nil for anything else.
  package init?(httpDate text: some StringProtocol) {
    let parts = text.split(separator: " ", omittingEmptySubsequences: true)
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    guard parts.count == 6, parts[5] == "GMT", parts[1].utf8.count == 2, parts[3].utf8.count == 4,
      let month = months.firstIndex(where: { $0 == parts[2] })
    else { return nil }
    do {
      try self.init(rfc3339: "\(parts[3])-\(padded(month + 1, to: 2))-\(parts[1])T\(parts[4])Z")
    } catch {
      return nil
    }
  }
}

/// Coded as RFC 3339 text; written with whole seconds, as `metav1.Time`.
extension Timestamp: Codable, CustomStringConvertible {
  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    do {
      try self.init(rfc3339: text)
    } catch {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: error.description, underlyingError: error))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(rfc3339)
  }

  package var description: String { rfc3339Micro }
}

/// A moment that is written with microseconds, as `metav1.MicroTime` (leases, events).
package struct MicroTimestamp: Hashable, Comparable, Sendable, Codable {
  /// The moment.
  package var timestamp: Timestamp

  /// Wraps a moment.
  package init(_ timestamp: Timestamp) { self.timestamp = timestamp }

  package init(from decoder: any Decoder) throws { timestamp = try Timestamp(from: decoder) }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(timestamp.rfc3339Micro)
  }

  package static func < (lhs: MicroTimestamp, rhs: MicroTimestamp) -> Bool { lhs.timestamp < rhs.timestamp }
}

/// A day of the proleptic Gregorian calendar.
///
/// The arithmetic counts years from March in eras of 400 years (146,097 days), so that leap days fall at the end of a
/// year and no table is needed.
package struct CivilDate: Hashable, Sendable {
  /// The year; the year before 1 is 0.
  package var year: Int
  /// The month, 1…12.
  package var month: Int
  /// The day of the month, 1…31.
  package var day: Int

  /// Makes a day from its parts, which must be in range.
  package init(year: Int, month: Int, day: Int) {
    self.year = year
    self.month = month
    self.day = day
  }

  /// Makes the day that lies `days` after 1970-01-01.
  package init(daysSinceEpoch days: Int) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// The number of days since 1970-01-01; negative before.
  package var daysSinceEpoch: Int {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }

  /// The day of the week, 0 for Sunday … 6 for Saturday.
  package var weekday: Int {
    let remainder = (daysSinceEpoch + 4) % 7
    return remainder < 0 ? remainder + 7 : remainder
  }

  /// The number of days in a month, 1…12, of a year.
  package static func daysIn(month: Int, year: Int) -> Int {
    switch month {
    case 2: return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: return 30
    default: return 31
    }
  }
}

private func padded(_ value: Int, to width: Int) -> String {
  let digits = String(value)
  return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
}

/// Reads fixed-width numbers off the front of a text.
private struct DigitReader {
  var bytes: [UInt8]
  var index = 0

  var isAtEnd: Bool { index == bytes.count }

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func take(_ choices: StaticString) -> Bool {
    guard index < bytes.count else { return false }
    let byte = bytes[index]
    let matches = choices.withUTF8Buffer { $0.contains(byte) }
    if matches { index += 1 }
    return matches
  }

  mutating func number(digits count: Int) -> Int? {
    var value = 0
    for _ in 0..<count {
      guard let digit = digit() else { return nil }
      value = value * 10 + digit
    }
    return value
  }

  /// The nanoseconds of an optional fraction; nil for a point without a digit.
  mutating func fraction() -> Int? {
    guard take(".") else { return 0 }
    var value = 0
    var count = 0
    while let digit = digit() {
      if count < 9 { value = value * 10 + digit }
      count += 1
    }
    guard count > 0 else { return nil }
    for _ in min(count, 9)..<9 { value *= 10 }
    return value
  }

  /// The seconds by which the text's clock is ahead of UTC.
  mutating func offsetSeconds() -> Int? {
    if take("Zz") { return 0 }
    guard index < bytes.count else { return nil }
    let isNegative = bytes[index] == UInt8(ascii: "-")
    guard take("+-"), let hours = number(digits: 2), take(":"), let minutes = number(digits: 2),
      hours <= 23, minutes <= 59
    else { return nil }
    let seconds = hours * 3_600 + minutes * 60
    return isNegative ? -seconds : seconds
  }

  private mutating func digit() -> Int? {
    guard index < bytes.count, bytes[index] >= UInt8(ascii: "0"), bytes[index] <= UInt8(ascii: "9") else { return nil }
    defer { index += 1 }
    return Int(bytes[index] - UInt8(ascii: "0"))
  }
}
