package import KubernetesCore

/// By how many seconds the civil time of one zone is ahead of UTC at any moment, from a file of the IANA time zone
/// database in the TZif format.
///
/// Source: RFC 9636. Read by ourselves, since Foundation's time zones bring ICU along: 40 MB of program for one number.
package struct TimeZoneTable: Hashable, Sendable {
  /// The moments, in seconds since 1970, at which the offset changes, in order.
  private var transitions: [Int64]
  /// The offset from each of these on; one for each transition.
  private var offsets: [Int]
  /// The offset before the first.
  private var first: Int
  /// What holds after the last; nil when the last offset stays.
  private var rule: TimeZoneRule?

  /// The zone that is UTC.
  package static let utc = TimeZoneTable(transitions: [], offsets: [], first: 0)

  private init(transitions: [Int64], offsets: [Int], first: Int, rule: TimeZoneRule? = nil) {
    self.transitions = transitions
    self.offsets = offsets
    self.first = first
    self.rule = rule
  }

  /// Reads a TZif file of version 1 to 4; nil when it isn't one.
  package init?(tzif bytes: [UInt8]) {
    var reader = Reader(bytes: bytes[...])
    guard let old = Header(&reader) else { return nil }
    guard old.version >= 2 else {
      self.init(block: &reader, old, width: 4)
      return
    }
    // Everything stands twice for the sake of old readers: first with 32 bits, then with 64.
    guard reader.skip(old.size(width: 4)), let header = Header(&reader) else { return nil }
    self.init(block: &reader, header, width: 8)
    guard reader.bytes.first == 0x0A, let end = reader.bytes.dropFirst().firstIndex(of: 0x0A) else { return nil }
    let footer = reader.bytes[(reader.bytes.startIndex + 1)..<end]
    guard !footer.isEmpty else { return }
    guard let rule = TimeZoneRule(String(decoding: footer, as: UTF8.self)) else { return nil }
    self.rule = rule
  }

  private init?(block reader: inout Reader, _ header: Header, width: Int) {
    transitions = []
    for _ in 0..<header.transitions {
      guard let moment = reader.integer(width: width) else { return nil }
      guard transitions.last.map({ $0 < moment }) ?? true else { return nil }
      transitions.append(moment)
    }
    guard let kinds = reader.take(header.transitions) else { return nil }
    var types: [Int] = []
    for _ in 0..<header.types {
      guard let offset = reader.integer(width: 4), reader.skip(2), abs(offset) < 100_000 else { return nil }
      types.append(Int(offset))
    }
    guard let first = types.first, kinds.allSatisfy({ Int($0) < types.count }),
      reader.skip(header.characters + header.leapSeconds * (width + 4) + header.standardFlags + header.utcFlags)
    else { return nil }
    offsets = kinds.map { types[Int($0)] }
    self.first = first
  }

  /// The offset at a moment, in seconds; positive east of Greenwich.
  package func offset(at moment: Timestamp) -> Int {
    let seconds = moment.secondsSinceEpoch
    guard let last = transitions.last else { return rule?.offset(at: seconds) ?? first }
    if seconds >= last { return rule?.offset(at: seconds) ?? offsets[offsets.count - 1] }
    var (low, high) = (0, transitions.count)
    while low < high {
      let middle = (low + high) / 2
      if transitions[middle] <= seconds { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? first : offsets[low - 1]
  }

  private struct Header {
    var version: Int
    var utcFlags: Int
    var standardFlags: Int
    var leapSeconds: Int
    var transitions: Int
    var types: Int
    var characters: Int

    init?(_ reader: inout Reader) {
      guard let magic = reader.take(4), Array(magic) == Array("TZif".utf8), let mark = reader.take(1)?.first,
        reader.skip(15)
      else { return nil }
      // Version 1 is a zero byte, the others are digits.
      version = mark == 0 ? 1 : Int(mark) - 0x30
      var counts: [Int] = []
      for _ in 0..<6 {
        guard let count = reader.integer(width: 4), (0...100_000).contains(count) else { return nil }
        counts.append(Int(count))
      }
      (utcFlags, standardFlags, leapSeconds) = (counts[0], counts[1], counts[2])
      (transitions, types, characters) = (counts[3], counts[4], counts[5])
    }

    /// The bytes of the block that follows, with moments of `width` bytes.
    func size(width: Int) -> Int {
      transitions * (width + 1) + types * 6 + characters + leapSeconds * (width + 4) + standardFlags + utcFlags
    }
  }

  private struct Reader {
    var bytes: ArraySlice<UInt8>

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
      guard bytes.count >= count else { return nil }
      defer { bytes = bytes.dropFirst(count) }
      return bytes.prefix(count)
    }

    mutating func skip(_ count: Int) -> Bool { take(count) != nil }

    /// A signed number of 4 or 8 bytes, the highest first.
    mutating func integer(width: Int) -> Int64? {
      guard let bytes = take(width) else { return nil }
      let bits = bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return width == 4 ? Int64(Int32(truncatingIfNeeded: bits)) : Int64(bitPattern: bits)
    }
  }
}

/// The offsets of a zone for all future, as POSIX writes them in `TZ`: `CET-1CEST,M3.5.0,M10.5.0/3`.
struct TimeZoneRule: Hashable, Sendable {
  /// A moment of each year, in civil time.
  private enum Day: Hashable {
    /// The `n`th day of a year without 29 February, from 1.
    case julian(Int)
    /// The day of the year from 0, 29 February counted.
    case ordinal(Int)
    /// The `week`th `weekday` (0 is Sunday) of a month; the fifth is the last.
    case weekday(month: Int, week: Int, weekday: Int)
  }

  private struct Change: Hashable {
    var day: Day
    /// Seconds after midnight; −167 to 167 hours.
    var seconds: Int
  }

  /// The offset in winter, in seconds east of Greenwich.
  private var standard: Int
  /// The offset in summer with its first and last moment; nil where clocks never change.
  private var summer: Summer?

  private struct Summer: Hashable {
    var offset: Int
    var start: Change
    var end: Change
  }

  /// Reads a rule; nil when it isn't one.
  init?(_ text: String) {
    var text = Substring(text)
    guard Self.skipName(&text), let standard = Self.duration(&text) else { return nil }
    // POSIX counts westwards.
    self.standard = -standard
    guard !text.isEmpty else { return }
    guard Self.skipName(&text) else { return nil }
    var offset = self.standard + 3_600
    if let first = text.first, first != "," {
      guard let written = Self.duration(&text) else { return nil }
      offset = -written
    }
    // Without dates, those of the United States hold.
    if text.isEmpty { text = ",M3.2.0,M11.1.0" }
    guard let start = Self.change(&text), let end = Self.change(&text), text.isEmpty else { return nil }
    summer = Summer(offset: offset, start: start, end: end)
  }

  /// The offset at a moment, in seconds since 1970.
  func offset(at moment: Int64) -> Int {
    guard let summer else { return standard }
    let local = moment + Int64(standard)
    let year = CivilDate(daysSinceEpoch: Int((local - (local % 86_400 + 86_400) % 86_400) / 86_400)).year
    let start = Self.seconds(summer.start, year) - Int64(standard)
    let end = Self.seconds(summer.end, year) - Int64(summer.offset)
    let isSummer = start < end ? start <= moment && moment < end : !(end <= moment && moment < start)
    return isSummer ? summer.offset : standard
  }

  private static func seconds(_ change: Change, _ year: Int) -> Int64 {
    let newYear = CivilDate(year: year, month: 1, day: 1).daysSinceEpoch
    let day: Int
    switch change.day {
    case .ordinal(let number): day = newYear + number
    case .julian(let number):
      let isLeap = CivilDate.daysIn(month: 2, year: year) == 29
      day = newYear + number - 1 + (isLeap && number >= 60 ? 1 : 0)
    case .weekday(let month, let week, let weekday):
      let first = CivilDate(year: year, month: month, day: 1)
      var date = 1 + (weekday - first.weekday + 7) % 7 + (week - 1) * 7
      while date > CivilDate.daysIn(month: month, year: year) { date -= 7 }
      day = first.daysSinceEpoch + date - 1
    }
    return Int64(day) * 86_400 + Int64(change.seconds)
  }

  // MARK: Text

  private static func skipName(_ text: inout Substring) -> Bool {
    if text.hasPrefix("<") {
      guard let end = text.firstIndex(of: ">") else { return false }
      text = text[text.index(after: end)...]
      return true
    }
    let name = text.prefix { $0.isASCII && $0.isLetter }
    text = text.dropFirst(name.count)
    return name.count >= 3
  }

  private static func number(_ text: inout Substring, in range: ClosedRange<Int>) -> Int? {
    let digits = text.prefix { ("0"..."9").contains($0) }
    guard digits.utf8.count <= 3, let number = Int(digits), range.contains(number) else { return nil }
    text = text.dropFirst(digits.count)
    return number
  }

  /// Hours, minutes and seconds with a sign, in seconds.
  private static func duration(_ text: inout Substring) -> Int? {
    let isNegative = text.hasPrefix("-")
    if isNegative || text.hasPrefix("+") { text = text.dropFirst() }
    guard var total = number(&text, in: 0...167).map({ $0 * 3_600 }) else { return nil }
    for unit in [60, 1] where text.hasPrefix(":") {
      text = text.dropFirst()
      guard let part = number(&text, in: 0...59) else { return nil }
      total += part * unit
    }
    return isNegative ? -total : total
  }

  private static func change(_ text: inout Substring) -> Change? {
    guard text.hasPrefix(",") else { return nil }
    text = text.dropFirst()
    let day: Day
    if text.hasPrefix("J") {
      text = text.dropFirst()
      guard let found = number(&text, in: 1...365) else { return nil }
      day = .julian(found)
    } else if text.hasPrefix("M") {
      text = text.dropFirst()
      guard let month = number(&text, in: 1...12), text.hasPrefix(".") else { return nil }
      text = text.dropFirst()
      guard let week = number(&text, in: 1...5), text.hasPrefix(".") else { return nil }
      text = text.dropFirst()
      guard let weekday = number(&text, in: 0...6) else { return nil }
      day = .weekday(month: month, week: week, weekday: weekday)
    } else {
      guard let found = number(&text, in: 0...365) else { return nil }
      day = .ordinal(found)
    }
    guard text.hasPrefix("/") else { return Change(day: day, seconds: 7_200) }
    text = text.dropFirst()
    return duration(&text).map { Change(day: day, seconds: $0) }
  }
}
