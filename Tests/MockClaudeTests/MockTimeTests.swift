import MockClaude
import Testing

@Suite struct MockTimeTests {
  @Test(
    "Moments are written in both forms and read back",
    arguments: [
      (0, "1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
      (951_782_400, "2000-02-29T00:00:00Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
      (1_779_104_536, "2026-05-18T11:42:16Z", "Mon, 18 May 2026 11:42:16 GMT"),
    ] as [(Int64, String, String)])
  func forms(seconds: Int64, rfc3339: String, http: String) {
    let time = MockTime(seconds: seconds)
    #expect(time.rfc3339 == rfc3339)
    #expect(time.httpDate == http)
    #expect(MockTime(rfc3339: rfc3339) == time)
  }

  @Test("Months end where they should")
  func months() {
    #expect(MockTime(seconds: 1_779_104_536).startOfNextMonth.rfc3339 == "2026-06-01T00:00:00Z")
    #expect(MockTime(year: 2026, month: 12, day: 31).startOfNextMonth.rfc3339 == "2027-01-01T00:00:00Z")
  }

  @Test("What is no moment is refused", arguments: ["", "2026", "2026-13-01T00:00:00Z", "2026-05-18T11:42:16+02:00"])
  func invalid(text: String) {
    #expect(MockTime(rfc3339: text) == nil)
  }

  @Test("Log-normal draws have the median and the spread that were asked for")
  func logNormal() {
    var random = SeededGenerator(seed: 3)
    let draws = (0..<20_000).map { _ in random.logNormal(median: 600, sigma: 0.9) }.sorted()
    #expect((580...620).contains(draws[10_000]))
    // The 84th percentile is e^σ times the median.
    #expect((1400...1560).contains(draws[16_827]))
  }
}
