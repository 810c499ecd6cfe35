import KubernetesCore
import ScalingAPI
import Testing

private func moment(_ text: String) throws -> Timestamp { try Timestamp(rfc3339: text) }

/// Berlin in 2026: summer time from 29 March 01:00 UTC to 25 October 01:00 UTC.
private func berlin(_ at: Timestamp) -> Int {
  let spring = Timestamp(secondsSinceEpoch: 1_774_746_000)
  let autumn = Timestamp(secondsSinceEpoch: 1_792_890_000)
  return at >= spring && at < autumn ? 7200 : 3600
}

@Suite("Cron")
struct CronScheduleTests {
  @Test(
    "the next match in UTC",
    arguments: [
      ("0 8 * * 1-5", "2026-11-27T08:00:00Z", "2026-11-30T08:00:00Z"),
      ("*/15 * * * *", "2026-11-25T01:29:59Z", "2026-11-25T01:30:00Z"),
      ("*/15 * * * *", "2026-11-25T01:30:00Z", "2026-11-25T01:45:00Z"),
      ("5/20 3 * * *", "2026-11-25T03:06:00Z", "2026-11-25T03:25:00Z"),
      ("0 0 29 2 *", "2026-11-25T00:00:00Z", "2028-02-29T00:00:00Z"),
      ("0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"),
      ("0 0 13 * fri", "2026-11-25T00:00:00Z", "2026-11-27T00:00:00Z"),
      ("30 6 1,15 jan-mar *", "2026-11-25T00:00:00Z", "2027-01-01T06:30:00Z"),
      ("0 12 * * 7", "2026-11-25T00:00:00Z", "2026-11-29T12:00:00Z"),
      ("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"),
    ])
  func next(text: String, after: String, expected: String) throws {
    let cron = try CronSchedule(text)
    let found = try #require(cron.next(after: moment(after)) { _ in 0 })
    #expect(found.rfc3339 == expected)
    #expect(cron.previous(atOrBefore: found) { _ in 0 } == found)
    #expect(try cron.previous(atOrBefore: moment(after)) { _ in 0 }.map { try $0 <= moment(after) } ?? true)
  }

  @Test("a match that clocks skip comes right after, one that they repeat comes once")
  func daylightSaving() throws {
    let nightly = try CronSchedule("30 2 * * *")
    let spring = nightly.next(after: try moment("2026-03-28T12:00:00Z"), offset: berlin)
    #expect(spring?.rfc3339 == "2026-03-29T01:30:00Z")
    let autumn = try #require(nightly.next(after: moment("2026-10-24T12:00:00Z"), offset: berlin))
    #expect(autumn.rfc3339 == "2026-10-25T00:30:00Z")
    #expect(nightly.next(after: autumn, offset: berlin)?.rfc3339 == "2026-10-26T01:30:00Z")
    let hourly = try CronSchedule("30 * * * *")
    #expect(hourly.next(after: autumn, offset: berlin)?.rfc3339 == "2026-10-25T01:30:00Z")
  }

  @Test("office hours hold from start to end, in civil time")
  func officeHours() throws {
    let start = try CronSchedule("0 8 * * 1-5")
    let end = try CronSchedule("0 18 * * 1-5")
    for (at, isOpen, next) in [
      ("2026-11-25T06:59:59Z", false, "2026-11-25T07:00:00Z"), ("2026-11-25T07:00:00Z", true, "2026-11-25T17:00:00Z"),
      ("2026-11-25T17:00:00Z", false, "2026-11-26T07:00:00Z"), ("2026-11-28T10:00:00Z", false, "2026-11-30T07:00:00Z"),
      ("2026-07-01T06:00:00Z", true, "2026-07-01T16:00:00Z"),
    ] {
      let window = CronSchedule.window(start: start, end: end, at: try moment(at), offset: berlin)
      #expect(window.isOpen == isOpen, "\(at)")
      #expect(window.nextTransition?.rfc3339 == next, "\(at)")
    }
  }

  @Test(
    "what isn't cron is refused and says which field",
    arguments: [
      ("* * * *", "five fields"), ("60 * * * *", "minute"), ("* 24 * * *", "hour"), ("* * 0 * *", "day of month"),
      ("* * * 13 *", "month"), ("* * * * 8", "day of week"), ("5-1 * * * *", "minute"), ("*/0 * * * *", "minute"),
      ("1,,2 * * * *", "minute"), ("@daily", "five fields"), ("* * 30 2 *", "no date"), ("* * L * *", "day of month"),
    ])
  func refused(text: String, word: String) {
    let error = #expect(throws: CronError.self) { try CronSchedule(text) }
    #expect(error?.problem.contains(word) == true)
  }
}
