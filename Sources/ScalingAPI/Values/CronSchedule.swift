package import KubernetesCore

/// A text that is not a cron expression.
package struct CronError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong.
  package var problem: String

  package var description: String { problem }
}

/// A cron expression of five fields: minute, hour, day of the month, month, day of the week.
///
/// Understood: `*`, numbers, ranges `1-5`, steps `*/15` and `8-18/2`, lists of these, English names of three letters for
/// months and days of the week, 0 and 7 for Sunday. As in every cron, where both the day of the month and the day
/// of the week are restricted, either is enough. Not understood: `L`, `W`, `#`, `?`, `@daily`, seconds.
package struct CronSchedule: Hashable, Sendable {
  /// By how many seconds civil time is ahead of UTC at a moment: the time zone, as the caller knows it.
  package typealias UTCOffset = (Timestamp) -> Int

  /// The expression as written.
  package let text: String
  // Bit n stands for the value n.
  private let minutes: UInt64
  private let hours: UInt64
  private let days: UInt64
  private let months: UInt64
  private let weekdays: UInt64
  private let hoursAreFree: Bool
  private let daysAreFree: Bool
  private let weekdaysAreFree: Bool

  /// A leap day can be eight years away (1896 to 1904, 2096 to 2104).
  private static let searchedDays = 8 * 366 + 2

  /// Reads an expression.
  package init(_ text: String) throws(CronError) {
    let fields = text.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
    guard fields.count == 5 else {
      throw CronError(
        problem: "a cron expression has five fields (minute, hour, day of month, month, day of week), "
          + "but here are \(fields.count)")
    }
    self.text = text
    minutes = try Self.bits(fields[0], "minute", 0...59)
    hours = try Self.bits(fields[1], "hour", 0...23)
    days = try Self.bits(fields[2], "day of month", 1...31)
    months = try Self.bits(
      fields[3], "month", 1...12,
      names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
    let week = try Self.bits(
      fields[4], "day of week", 0...7, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"])
    weekdays = week & 0x7F | (week >> 7 & 1)
    hoursAreFree = fields[1].hasPrefix("*")
    daysAreFree = fields[2].hasPrefix("*")
    weekdaysAreFree = fields[4].hasPrefix("*")
    guard hasSomeDay else {
      throw CronError(problem: "no date matches day of month \"\(fields[2])\" in month \"\(fields[3])\"")
    }
  }

  /// The first match after `moment`.
  ///
  /// Where clocks go forward over a match, it counts as many minutes after the change; where they go back, a match
  /// counts once, unless the hour field begins with `*`.
  package func next(after moment: Timestamp, offset: UTCOffset) -> Timestamp? {
    let local = CivilMinute(moment, offset: offset)
    for step in 0...Self.searchedDays {
      let day = local.day + step
      guard matches(CivilDate(daysSinceEpoch: day)) else { continue }
      // An hour that clocks repeat lies before the present civil time, hence two hours of overlap.
      let first = step == 0 ? max(0, local.minute - 120) : 0
      for minute in first..<1440 where matches(minute: minute) {
        let found = instants(day: day, minute: minute, offset: offset).first { $0 > moment }
        if let found { return found }
      }
    }
    return nil
  }

  /// The last match at or before `moment`.
  package func previous(atOrBefore moment: Timestamp, offset: UTCOffset) -> Timestamp? {
    let local = CivilMinute(moment, offset: offset)
    for step in 0...Self.searchedDays {
      let day = local.day - step
      guard matches(CivilDate(daysSinceEpoch: day)) else { continue }
      let last = step == 0 ? min(1439, local.minute + 120) : 1439
      for minute in (0...last).reversed() where matches(minute: minute) {
        let found = instants(day: day, minute: minute, offset: offset).last { $0 <= moment }
        if let found { return found }
      }
    }
    return nil
  }

  /// Whether some month has a day that matches; a day of the week always comes.
  private var hasSomeDay: Bool {
    if !weekdaysAreFree { return true }
    return (1...12).contains { month in
      months >> UInt64(month) & 1 == 1
        && (1...CivilDate.daysIn(month: month, year: 2000)).contains { days >> UInt64($0) & 1 == 1 }
    }
  }

  private func matches(_ date: CivilDate) -> Bool {
    guard months >> UInt64(date.month) & 1 == 1 else { return false }
    let byDay = days >> UInt64(date.day) & 1 == 1
    let byWeekday = weekdays >> UInt64(date.weekday) & 1 == 1
    return daysAreFree || weekdaysAreFree ? byDay && byWeekday : byDay || byWeekday
  }

  private func matches(minute: Int) -> Bool {
    hours >> UInt64(minute / 60) & 1 == 1 && minutes >> UInt64(minute % 60) & 1 == 1
  }

  /// The moments at which a civil clock shows a minute, in order: one, or two where the clock goes back.
  private func instants(day: Int, minute: Int, offset: UTCOffset) -> [Timestamp] {
    let civil = Int64(day) * 86_400 + Int64(minute) * 60
    let before = offset(Timestamp(secondsSinceEpoch: civil - 86_400))
    let after = offset(Timestamp(secondsSinceEpoch: civil + 86_400))
    let candidates = before == after ? [before] : [max(before, after), min(before, after)]
    let exact = candidates.map { (Timestamp(secondsSinceEpoch: civil - Int64($0)), $0) }
      .filter { offset($0.0) == $0.1 }.map(\.0)
    if exact.isEmpty { return [Timestamp(secondsSinceEpoch: civil - Int64(before))] }
    return hoursAreFree ? exact : [exact[0]]
  }

  private static func bits(
    _ field: String, _ name: String, _ range: ClosedRange<Int>, names: [String] = []
  ) throws(CronError) -> UInt64 {
    var result: UInt64 = 0
    for part in field.split(separator: ",", omittingEmptySubsequences: false) {
      let pieces = part.split(separator: "/", omittingEmptySubsequences: false)
      guard pieces.count <= 2, let span = span(String(pieces[0]), range, names),
        let step = pieces.count == 2 ? digits(pieces[1]) : 1, step >= 1
      else {
        throw CronError(
          problem: "the \(name) \"\(part)\" is none of *, a number from \(range.lowerBound) to \(range.upperBound), "
            + "a range such as \(range.lowerBound)-\(range.lowerBound + 4), or a step such as */2")
      }
      // A single number with a step begins an open range, as in other crons: 5/15 is 5, 20, 35, 50.
      let isSingle = span.lowerBound == span.upperBound && pieces.count == 2
      let end = isSingle ? range.upperBound : span.upperBound
      for value in stride(from: span.lowerBound, through: end, by: step) { result |= 1 << UInt64(value) }
    }
    return result
  }

  private static func span(_ text: String, _ range: ClosedRange<Int>, _ names: [String]) -> ClosedRange<Int>? {
    if text == "*" { return range }
    let ends = text.split(separator: "-", omittingEmptySubsequences: false)
      .map { value(String($0), range, names) }
    guard ends.count <= 2, let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last else { return nil }
    return first...last
  }

  private static func value(_ text: String, _ range: ClosedRange<Int>, _ names: [String]) -> Int? {
    if let index = names.firstIndex(of: text.lowercased()) { return range.lowerBound + index }
    return digits(text[...]).flatMap { range.contains($0) ? $0 : nil }
  }

  private static func digits(_ text: Substring) -> Int? {
    guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
    return Int(text)
  }
}

extension CronSchedule {
  /// Whether a window from each match of `start` to the following match of `end` is open, and when that changes.
  ///
  /// At a moment that matches both, the window is closed.
  package static func window(
    start: CronSchedule, end: CronSchedule, at moment: Timestamp, offset: UTCOffset
  ) -> (isOpen: Bool, nextTransition: Timestamp?) {
    let opened = start.previous(atOrBefore: moment, offset: offset)
    let closed = end.previous(atOrBefore: moment, offset: offset)
    let isOpen =
      switch (opened, closed) {
      case (nil, _): false
      case (_?, nil): true
      case (let opened?, let closed?): opened > closed
      }
    return (isOpen, (isOpen ? end : start).next(after: moment, offset: offset))
  }
}

/// A minute of a civil clock.
private struct CivilMinute {
  /// Days since 1970-01-01.
  let day: Int
  /// The minute of the day, 0…1439.
  let minute: Int

  init(_ moment: Timestamp, offset: CronSchedule.UTCOffset) {
    let seconds = moment.secondsSinceEpoch + Int64(offset(moment))
    let dayNumber = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    day = Int(dayNumber)
    minute = Int(seconds - dayNumber * 86_400) / 60
  }
}
