/// A moment of the mock's time: whole nanoseconds since 1970-01-01 UTC.
///
/// The engine has no clock; whoever calls it says what time it is. That is the real clock in the server and a virtual
/// one in a simulation.
package struct MockTime: Hashable, Comparable, Sendable {
  /// Nanoseconds since the epoch.
  package var nanoseconds: Int64

  /// A moment so many nanoseconds after the epoch.
  package init(nanoseconds: Int64) {
    self.nanoseconds = nanoseconds
  }

  /// A moment so many whole seconds after the epoch.
  package init(seconds: Int64) {
    self.init(nanoseconds: seconds * 1_000_000_000)
  }

  /// The whole second in which the moment lies.
  package var second: Int64 {
    nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : (nanoseconds - 999_999_999) / 1_000_000_000
  }

  /// The moment `duration` later.
  package static func + (time: MockTime, duration: Duration) -> MockTime {
    MockTime(nanoseconds: time.nanoseconds + duration.wholeNanoseconds)
  }

  /// The moment `duration` earlier.
  package static func - (time: MockTime, duration: Duration) -> MockTime {
    MockTime(nanoseconds: time.nanoseconds - duration.wholeNanoseconds)
  }

  /// How much later this moment is than `other`.
  package static func - (time: MockTime, other: MockTime) -> Duration {
    .nanoseconds(time.nanoseconds - other.nanoseconds)
  }

  package static func < (left: MockTime, right: MockTime) -> Bool {
    left.nanoseconds < right.nanoseconds
  }
}

extension Duration {
  /// The length in nanoseconds, cut to what 64 bits hold (292 years).
  package var wholeNanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? (seconds < 0 ? .min : .max) : product + attoseconds / 1_000_000_000
  }
}

// MARK: Calendar forms

extension MockTime {
  /// A date and time of day in UTC.
  package struct Calendar: Hashable, Sendable {
    /// Year, month 1–12, day 1–31.
    package var (year, month, day): (Int64, Int64, Int64)
    /// Hour, minute, second.
    package var (hour, minute, second): (Int64, Int64, Int64)
    /// 0 is Sunday.
    package var weekday: Int64
  }

  /// Days since the epoch of a date of the Gregorian calendar (Hinnant's algorithm).
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let ofEra = shifted - era * 400
    let ofYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
  }

  /// The first moment of a date.
  package init(year: Int64, month: Int64, day: Int64) {
    self.init(seconds: Self.days(year, month, day) * 86_400)
  }

  /// Date and time of day.
  package var calendar: Calendar {
    let seconds = second
    let day = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400
    let shifted = day + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let ofEra = shifted - era * 146_097
    let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
    let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * ofYear + 2) / 153
    let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    let rest = seconds - day * 86_400
    return Calendar(
      year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month: month,
      day: ofYear - (153 * marchMonth + 2) / 5 + 1, hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60,
      weekday: ((day + 4) % 7 + 7) % 7)
  }

  /// The first moment of the following month, when monthly caps start anew.
  package var startOfNextMonth: MockTime {
    let date = calendar
    return date.month == 12
      ? MockTime(year: date.year + 1, month: 1, day: 1) : MockTime(year: date.year, month: date.month + 1, day: 1)
  }

  /// RFC 3339 in UTC at whole seconds, as the API writes `*-reset`: `2026-05-18T11:42:16Z`.
  package var rfc3339: String {
    let date = calendar
    return "\(date.year.padded(4))-\(date.month.padded(2))-\(date.day.padded(2))T\(date.timeOfDay)Z"
  }

  /// The form of the `date` header: `Mon, 18 May 2026 11:42:16 GMT`.
  package var httpDate: String {
    let date = calendar
    let weekday = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][Int(date.weekday)]
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][
      Int(date.month) - 1]
    return "\(weekday), \(date.day.padded(2)) \(month) \(date.year.padded(4)) \(date.timeOfDay) GMT"
  }

  /// Reads RFC 3339 in UTC (`2026-05-18T11:42:16Z`, with or without a fraction).
  package init?(rfc3339 text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z"), bytes[10] == UInt8(ascii: "T") else { return nil }
    func number(_ range: Range<Int>) -> Int64? {
      var value: Int64 = 0
      for byte in bytes[range] {
        guard (48...57).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - 48)
      }
      return value
    }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
      let minute = number(14..<16), let second = number(17..<19), (1...12).contains(month), (1...31).contains(day),
      hour < 24, minute < 60, second < 61
    else { return nil }
    var fraction: Int64 = 0
    if bytes.count > 20 {
      let digits = bytes.count - 21
      guard bytes[19] == UInt8(ascii: "."), (1...9).contains(digits), let value = number(20..<20 + digits)
      else { return nil }
      fraction = (digits..<9).reduce(value) { part, _ in part * 10 }
    }
    let seconds = Self.days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
    self.init(nanoseconds: seconds * 1_000_000_000 + fraction)
  }
}

extension MockTime.Calendar {
  fileprivate var timeOfDay: String { "\(hour.padded(2)):\(minute.padded(2)):\(second.padded(2))" }
}

extension Int64 {
  /// Decimal with leading zeros.
  fileprivate func padded(_ width: Int) -> String {
    let text = String(self)
    return String(repeating: "0", count: Swift.max(0, width - text.utf8.count)) + text
  }
}
