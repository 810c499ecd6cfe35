import CoordinationCore
import SlowTests
import Testing

private func at(_ seconds: Int) -> Duration { .seconds(seconds) }

/// The jitter that changes nothing.
private let none = UInt32.max

extension CircuitBreaker {
  @discardableResult
  fileprivate mutating func end(_ outcome: Outcome, jitter: UInt32 = none, _ now: Duration) -> [Effect] {
    end(.pass, outcome, jitter: jitter, now)
  }

  @discardableResult
  fileprivate mutating func end(
    _ permit: Permit, _ outcome: Outcome, jitter: UInt32 = none, _ now: Duration
  ) -> [Effect] {
    handle(.ended(permit, outcome, jitter: jitter), now: now)
  }

  /// The end of its opening, in milliseconds; nil when it isn't open.
  fileprivate mutating func openUntil(_ now: Duration) -> Int64? {
    guard case .wait(let until) = permit(now: now) else { return nil }
    return until.components.seconds * 1_000 + (until.components.attoseconds + 500_000_000_000_000)
      / 1_000_000_000_000_000
  }
}

@Suite struct CircuitBreakerTests {
  private var breaker = CircuitBreaker()

  @Test("Five failures in a row open it for 60 s; then one probe at a time goes through, and two that succeed close it")
  mutating func opens() {
    for _ in 0..<4 { #expect(breaker.end(.failure, at(0)).isEmpty) }
    #expect(breaker.permit(now: at(0)) == .pass)
    #expect(breaker.end(.failure, at(1)).count == 1)
    #expect(breaker.openUntil(at(2)) == 61_000)
    #expect(breaker.permit(now: at(62)) == .probe)
    #expect(breaker.permit(now: at(62)) == .wait(until: at(63)))
    #expect(breaker.end(.probe, .success, at(63)).isEmpty)
    #expect(!breaker.isClosed)
    #expect(breaker.permit(now: at(63)) == .probe)
    #expect(breaker.end(.probe, .success, at(64)) == [.closed])
    #expect(breaker.permit(now: at(64)) == .pass && breaker.isAtRest)
  }

  @Test("A success between failures begins the count anew")
  mutating func success() {
    // Fewer than half of the calls fail.
    for second in 0..<40 {
      for _ in 0..<3 { breaker.end(.failure, at(second)) }
      for _ in 0..<5 { breaker.end(.success, at(second)) }
    }
    #expect(breaker.permit(now: at(40)) == .pass)
  }

  @Test("Every second call of twenty within 30 s opens it, though never five fail in a row")
  mutating func share() {
    for call in 0..<19 { #expect(breaker.end(call % 2 == 0 ? .failure : .success, at(call)).isEmpty) }
    #expect(!breaker.end(.failure, at(20)).isEmpty)
  }

  @Test("Calls from before the window don't count")
  mutating func window() {
    for call in 0..<19 { breaker.end(call % 4 == 0 ? .success : .failure, at(0)) }
    breaker = CircuitBreaker()
    for call in 0..<18 { breaker.end(call % 2 == 0 ? .failure : .success, at(0)) }
    for call in 0..<10 { #expect(breaker.end(call % 2 == 0 ? .failure : .success, at(31)).isEmpty) }
    #expect(breaker.isClosed)
  }

  @Test("A probe that fails opens it for as long again, however often that happens")
  mutating func outage() {
    for _ in 0..<5 { breaker.end(.failure, at(0)) }
    for now in stride(from: 0, to: 36_000, by: 60) {
      #expect(breaker.openUntil(at(now)) == Int64(now + 60) * 1_000)
      #expect(breaker.permit(now: at(now + 60)) == .probe)
      breaker.end(.probe, .failure, at(now + 60))
    }
  }

  @Test("Where failures are no outages a probe that fails opens it for twice as long, ten minutes at most")
  mutating func doubling() {
    var policy = CircuitBreaker.Policy()
    policy.longestOpenTime = at(600)
    breaker = CircuitBreaker(policy: policy)
    for _ in 0..<5 { breaker.end(.failure, at(0)) }
    var now = 0
    for seconds in [60, 120, 240, 480, 600, 600] {
      #expect(breaker.openUntil(at(now)) == Int64(now + seconds) * 1_000)
      now += seconds + 1
      #expect(breaker.permit(now: at(now)) == .probe)
      breaker.end(.probe, .failure, at(now))
    }
    now += 601
    for _ in 0..<2 {
      #expect(breaker.permit(now: at(now)) == .probe)
      breaker.end(.probe, .success, at(now))
    }
    for _ in 0..<5 { breaker.end(.failure, at(now)) }
    #expect(breaker.openUntil(at(now)) == Int64(now + 60) * 1_000)
  }

  @Test(
    "Chance shortens an opening by a tenth at most, and never makes it longer",
    arguments: zip([UInt32.min, 1 << 31, .max], [54_000, 57_000, 60_000] as [Int64]))
  mutating func jitter(jitter: UInt32, expected: Int64) {
    for _ in 0..<5 { breaker.end(.failure, jitter: jitter, at(0)) }
    #expect(breaker.openUntil(at(0)) == expected)
  }

  @Test("429 is no failure: it ends a run of failures, and a probe that gets it has found a dependency that is there")
  mutating func backPressure() {
    for _ in 0..<100 { #expect(breaker.end(.backPressure, at(0)).isEmpty) }
    for _ in 0..<4 { breaker.end(.failure, at(1)) }
    breaker.end(.backPressure, at(1))
    for _ in 0..<4 { breaker.end(.failure, at(1)) }
    #expect(breaker.isClosed)
    breaker.end(.failure, at(1))
    for _ in 0..<2 {
      #expect(breaker.permit(now: at(62)) == .probe)
      breaker.end(.probe, .backPressure, at(62))
    }
    #expect(breaker.isClosed)
  }

  @Test("A probe that was never sent lets the next one probe, and one that nobody ends is given up")
  mutating func abandoned() {
    breaker = CircuitBreaker(policy: .init(failures: 1))
    breaker.end(.failure, at(0))
    #expect(breaker.permit(now: at(61)) == .probe)
    breaker.end(.pass, .unknown, at(61))
    #expect(breaker.permit(now: at(61)) == .wait(until: at(62)))
    breaker.end(.probe, .unknown, at(61))
    #expect(breaker.permit(now: at(61)) == .probe)
    #expect(breaker.permit(now: at(660)) == .wait(until: at(661)))
    #expect(breaker.permit(now: at(661)) == .probe)
  }

  @Test("Failures of calls that were made before it opened don't keep it open longer")
  mutating func late() {
    for second in 0..<20 { breaker.end(.failure, at(second)) }
    #expect(breaker.permit(now: at(64)) == .probe)
    breaker.end(.pass, .failure, at(64))
    breaker.end(.probe, .success, at(64))
    #expect(breaker.permit(now: at(64)) == .probe)
  }

  @Test("A process without the fleet's probe token waits")
  mutating func token() {
    for _ in 0..<5 { breaker.end(.failure, at(0)) }
    #expect(breaker.permit(now: at(61), mayProbe: false) == .wait(until: at(62)))
    #expect(breaker.permit(now: at(61), mayProbe: true) == .probe)
  }

  @Test(
    "Of a dependency that is down, for seconds or for hours, at most five calls and those in flight are lost, and it closes 60 s and two calls after its repair at the latest",
    .slow, arguments: 0..<60)
  func leak(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var breaker = CircuitBreaker()
    var inFlight: [(end: Duration, permit: CircuitBreaker.Permit)] = []
    var leaked = 0
    var probes = 0
    let length = seed % 3 == 0 ? 60 + dice.roll(7_200) : 2 + dice.roll(300)
    let (down, up) = (at(10), at(10 + length))
    var closed: Duration?
    for millisecond in stride(from: 0, to: 1_000 * (length + 90), by: 50) {
      let now = Duration.milliseconds(millisecond)
      let isDown = now >= down && now < up
      for call in inFlight.filter({ $0.end <= now }) {
        let chance = UInt32.random(in: 0 ... .max, using: &dice)
        let effects = breaker.end(call.permit, isDown ? .failure : .success, jitter: chance, now)
        if isDown, call.permit == .pass { leaked += 1 }
        if isDown, call.permit == .probe { probes += 1 }
        if effects == [.closed] { closed = now }
      }
      inFlight.removeAll { $0.end <= now }
      let permit = breaker.permit(now: now)
      if case .wait = permit { continue }
      if permit == .probe { #expect(!inFlight.contains { $0.permit == .probe }, "two probes at a time") }
      if inFlight.count < 20 || permit == .probe {
        inFlight.append((now + .milliseconds(100 + dice.roll(400)), permit))
      }
    }
    #expect(leaked <= 5 + 20)
    #expect(probes <= length / 54 + 1, "one probe an opening")
    // Two calls of half a second, each seen at the next twentieth of a second.
    #expect(
      closed.map { $0 - up <= .milliseconds(61_200) } ?? false, "\(String(describing: closed)), up \(up), \(leaked)")
  }
}

@Suite struct PoolBreakerTests {
  private var pool = PoolBreaker()

  private mutating func join(_ count: Int) {
    for number in 0..<count { _ = pool.handle(.joined("a\(number)"), now: at(0)) }
  }

  @discardableResult
  private mutating func end(_ agent: Int, _ outcome: CircuitBreaker.Outcome, _ now: Duration) -> [PoolBreaker.Effect] {
    pool.handle(.ended("a\(agent)", .pass, outcome, jitter: none), now: now)
  }

  @Test("An agent that fails five times in a row is left alone, longer each time; the others go on")
  mutating func ejected() {
    join(10)
    for agent in 1..<10 { end(agent, .success, at(0)) }
    for _ in 0..<4 { #expect(end(0, .failure, at(1)).isEmpty) }
    #expect(end(0, .failure, at(1)) == [.ejected("a0", until: at(31))])
    #expect(pool.permit("a0", now: at(30)) == .wait(until: at(31)) && pool.permit("a1", now: at(2)) == .pass)
    #expect(pool.permit("a0", now: at(31)) == .pass)
    for agent in 1..<10 { end(agent, .success, at(31)) }
    for _ in 0..<4 { end(0, .failure, at(31)) }
    #expect(end(0, .failure, at(31)) == [.ejected("a0", until: at(91))])
  }

  @Test("Never more than half of a pool is left alone")
  mutating func half() {
    join(10)
    var spared = 0
    for round in 0..<10 {
      for agent in 0..<10 {
        // They take turns in failing, and there is always somebody who doesn't.
        for _ in 0..<5 {
          for effect in end(agent, .failure, at(round)) { if case .spared = effect { spared += 1 } }
        }
        #expect(pool.ejected(now: at(round)).count <= 5)
        for other in 0..<10 where other != agent && !pool.ejected(now: at(round)).contains("a\(other)") {
          end(other, .success, at(round))
        }
      }
    }
    #expect(spared > 0 && pool.ejected(now: at(9)).count == 5)
  }

  @Test("Five agents that fail, half of those that work, open the pool for 60 s; probes close it")
  mutating func opens() {
    join(20)
    for agent in 0..<4 { #expect(end(agent, .failure, at(0)).isEmpty) }
    #expect(end(4, .failure, at(0)).count == 1)
    #expect(!pool.isClosed && pool.ejected(now: at(1)).isEmpty)
    #expect(pool.permit("a19", now: at(1)) == .wait(until: pool.openEnd(at(1))))
    for _ in 0..<2 {
      #expect(pool.permit("a1", now: at(61)) == .probe)
      _ = pool.handle(.ended("a1", .probe, .success, jitter: none), now: at(61))
    }
    #expect(pool.isClosed)
  }

  @Test("Five failing agents among many that succeed don't open the pool")
  mutating func many() {
    join(20)
    for agent in 5..<20 { end(agent, .success, at(0)) }
    for agent in 0..<5 { end(agent, .failure, at(1)) }
    #expect(pool.isClosed)
  }
}

extension PoolBreaker {
  fileprivate mutating func openEnd(_ now: Duration) -> Duration {
    guard case .wait(let until) = permit("a19", now: now) else { return .zero }
    return until
  }
}
