import RateBudget
import SwarmCoordination
import Testing

private func at(_ seconds: Int64) -> BudgetTime { BudgetTime(nanoseconds: seconds * 1_000_000_000) }

@Suite struct RetryPolicyTests {
  @Test("Pauses double from 0.5 to 8 s, a quarter longer at most, and end with the attempts")
  func pauses() {
    var generator = SystemRandomNumberGenerator()
    let policy = RetryPolicy()
    for (failures, base) in [(1, 500), (2, 1_000), (3, 2_000), (4, 4_000), (5, 8_000), (9, 8_000)] {
      let pause = policy.pause(
        failures: failures, retryAfter: nil, now: .zero, deadline: at(300), using: &generator)
      let range = Duration.milliseconds(base)...Duration.milliseconds(base * 5 / 4)
      #expect(pause.map(range.contains) == true, "after \(failures)")
    }
    #expect(policy.pause(failures: 10, retryAfter: nil, now: .zero, deadline: at(300), using: &generator) == nil)
  }

  @Test("What upstream asks for is kept, and nothing goes beyond the deadline")
  func retryAfter() {
    var generator = SystemRandomNumberGenerator()
    let policy = RetryPolicy()
    let pause = policy.pause(failures: 1, retryAfter: .seconds(20), now: .zero, deadline: at(300), using: &generator)
    #expect(pause.map { $0 >= .seconds(20) } == true)
    #expect(
      policy.pause(failures: 1, retryAfter: .seconds(20), now: at(281), deadline: at(300), using: &generator) == nil)
  }
}
