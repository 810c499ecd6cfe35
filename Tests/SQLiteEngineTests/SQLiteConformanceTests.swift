import EngineConformance
import TaskQueue
import Testing

// The limit is for waits that never end: it names the case. Each takes milliseconds.
@Suite(.timeLimit(.minutes(10))) struct SQLiteConformanceTests {
  @Test(
    "The engine on SQLite, durable to the process's end, does what engines do",
    arguments: ConformanceCase.all(with: SQLiteHarness.all))
  func process(_ one: ConformanceCase) async throws {
    try await one.check(try await SQLiteHarness(.process))
  }

  @Test(
    "The engine on SQLite, durable to the machine's end, does what engines do",
    arguments: ConformanceCase.all(with: SQLiteHarness.all))
  func node(_ one: ConformanceCase) async throws {
    try await one.check(try await SQLiteHarness(.node))
  }
}
