import KubernetesCore
import Testing

@Suite("Timestamp")
struct TimestampTests {
  @Test(
    "RFC 3339 texts are read",
    arguments: [
      ("1970-01-01T00:00:00Z", Int64(0)), ("1970-01-01t00:00:01z", 1_000_000_000),
      ("2026-11-25T01:30:00Z", 1_795_570_200_000_000_000), ("2026-11-25T02:30:00+01:00", 1_795_570_200_000_000_000),
      ("2026-11-24T20:00:00-05:30", 1_795_570_200_000_000_000), ("1969-12-31T23:59:59.5Z", -500_000_000),
      ("1970-01-01T00:00:00.123456789Z", 123_456_789), ("1970-01-01T00:00:00.1234567899999Z", 123_456_789),
      ("2000-02-29T00:00:00Z", 951_782_400_000_000_000), ("0001-01-01T00:00:00Z", Int64.min),
      ("9999-12-31T23:59:59Z", Int64.max),
    ])
  func reads(_ text: String, _ nanoseconds: Int64) throws {
    #expect(try Timestamp(rfc3339: text).nanosecondsSinceEpoch == nanoseconds)
  }

  @Test(
    "Other texts are refused",
    arguments: [
      "", "2026-11-25", "2026-11-25 01:30:00Z", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-00-01T00:00:00Z",
      "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
      "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+0100", "2026-01-01T00:00:00Zx",
      "26-01-01T00:00:00Z", "2026-1-01T00:00:00Z", "2026-01-01T00:00:00+24:00",
    ])
  func refuses(_ text: String) {
    #expect(throws: TimestampError(text: text)) { try Timestamp(rfc3339: text) }
  }

  @Test("Moments print with whole seconds or microseconds, rounded down")
  func prints() throws {
    let moment = try Timestamp(rfc3339: "2026-11-25T01:30:00.123456789Z")
    #expect(moment.rfc3339 == "2026-11-25T01:30:00Z")
    #expect(moment.rfc3339Micro == "2026-11-25T01:30:00.123456Z")
    #expect(Timestamp(nanosecondsSinceEpoch: -1).rfc3339Micro == "1969-12-31T23:59:59.999999Z")
  }

  @Test("Every day of eight centuries follows the day before it and reads back")
  func countsDays() throws {
    var (year, month, day) = (1600, 1, 1)
    var days = CivilDate(year: 1600, month: 1, day: 1).daysSinceEpoch
    #expect(days == -135_140)
    while year < 2400 {
      #expect(CivilDate(year: year, month: month, day: day).daysSinceEpoch == days)
      #expect(CivilDate(daysSinceEpoch: days) == CivilDate(year: year, month: month, day: day))
      days += 1
      day += 1
      let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
      let lengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
      if day > lengths[month - 1] { (month, day) = (month + 1, 1) }
      if month > 12 { (year, month) = (year + 1, 1) }
    }
    #expect(CivilDate(year: 2026, month: 11, day: 25).weekday == 3)
  }

  @Test("Micro times are written with six digits in JSON, times with none")
  func encodes() throws {
    let moment = try Timestamp(rfc3339: "2026-11-25T01:30:00.5Z")
    #expect(try KubernetesJSON.encode([moment]) == Array("[\"2026-11-25T01:30:00Z\"]".utf8))
    #expect(try KubernetesJSON.encode([MicroTimestamp(moment)]) == Array("[\"2026-11-25T01:30:00.500000Z\"]".utf8))
  }

  @Test("HTTP dates are read, other forms are not")
  func readsHTTPDates() throws {
    #expect(Timestamp(httpDate: "Sun, 06 Nov 1994 08:49:37 GMT")?.rfc3339 == "1994-11-06T08:49:37Z")
    #expect(Timestamp(httpDate: "Sunday, 06-Nov-94 08:49:37 GMT") == nil)
    #expect(Timestamp(httpDate: "Sun, 06 Foo 1994 08:49:37 GMT") == nil)
  }

  @Test(
    "Go durations are read and written",
    arguments: [
      ("30s", Duration.seconds(30)), ("1m30.5s", .milliseconds(90_500)), ("1h0m0s", .seconds(3_600)), ("0s", .zero),
    ]
  )
  func goDurations(_ text: String, _ duration: Duration) {
    #expect(GoDuration.parse(text) == duration)
    #expect(GoDuration.text(duration) == text)
    #expect(GoDuration.parse(text + "x") == nil)
  }
}
