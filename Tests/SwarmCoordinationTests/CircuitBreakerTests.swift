import RateBudget
import SwarmCoordination
import Testing

private func at(_ seconds: Int64) -> BudgetTime { BudgetTime(nanoseconds: seconds * 1_000_000_000) }

@Suite struct CircuitBreakerTests {
  @Test("Five failures in a row open it for 60 s; then one probe at a time goes through")
  func opens() {
    var breaker = CircuitBreaker()
    for _ in 0..<4 {
      breaker.fail(.pass, now: at(0))
      #expect(breaker.permit(now: at(0)) == .pass)
    }
    breaker.fail(.pass, now: at(1))
    #expect(breaker.permit(now: at(2)) == .wait(until: at(61)))
    #expect(breaker.permit(now: at(61)) == .probe)
    #expect(breaker.permit(now: at(61)) == .wait(until: at(62)))
    breaker.fail(.probe, now: at(63))
    #expect(breaker.permit(now: at(64)) == .wait(until: at(123)))
    #expect(breaker.permit(now: at(123)) == .probe)
    breaker.succeed()
    #expect(breaker.permit(now: at(124)) == .pass)
  }

  @Test("A success between failures begins the count anew")
  func success() {
    var breaker = CircuitBreaker()
    for _ in 0..<10 {
      for _ in 0..<4 { breaker.fail(.pass, now: at(0)) }
      breaker.succeed()
    }
    #expect(breaker.permit(now: at(0)) == .pass)
  }

  @Test("A probe that was never sent lets the next one probe")
  func abandoned() {
    var breaker = CircuitBreaker(policy: .init(failures: 1))
    breaker.fail(.pass, now: at(0))
    #expect(breaker.permit(now: at(60)) == .probe)
    breaker.abandon(.pass)
    #expect(breaker.permit(now: at(60)) == .wait(until: at(61)))
    breaker.abandon(.probe)
    #expect(breaker.permit(now: at(60)) == .probe)
  }

  @Test("Failures of requests that were sent before it opened don't keep it open longer")
  func late() {
    var breaker = CircuitBreaker()
    for second in 0..<20 { breaker.fail(.pass, now: at(Int64(second))) }
    #expect(breaker.permit(now: at(64)) == .probe)
    breaker.fail(.pass, now: at(64))
    breaker.succeed()
    #expect(breaker.isClosed)
  }
}

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
