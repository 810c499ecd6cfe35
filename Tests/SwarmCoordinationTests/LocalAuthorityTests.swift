import RateBudget
import SwarmCoordination
import Testing

private let key = GroupKey(organization: "", modelGroup: "b")

private func seconds(_ value: Int64) -> BudgetTime { BudgetTime(nanoseconds: value * 1_000_000_000) }

/// 20 tokens and 10 requests a second, a bucket of 100 tokens.
private func plan(queueLimit: Int = 100, requests: Int64? = 600) -> BudgetPlan {
  var configuration = BudgetConfiguration(
    limits: PerDimension(requests: requests, inputTokens: 1_200, inputTokensTotal: nil, outputTokens: nil),
    targetPercent: 100, reservePercent: 0, queueLimit: queueLimit, ramp: nil)
  configuration.assumedLimits.outputTokens = nil
  return BudgetPlan([.init(name: "b", configuration: configuration)])
}

private func request(_ number: UInt64, tokens: Int64, deadline: BudgetTime = seconds(300)) -> AdmissionRequest {
  AdmissionRequest(
    group: key,
    grant: GrantRequest(
      id: GrantID(client: "c", number: number), fleet: "f", estimate: Estimate(input: tokens), deadline: deadline))
}

private func until(_ condition: () -> Bool) async {
  while !condition(), !Task.isCancelled { await Task.yield() }
}

@Suite struct LocalAuthorityTests {
  private static func with(
    _ plan: BudgetPlan, _ body: @Sendable (LocalAuthority, ManualClock) async throws -> Void
  ) async throws {
    let clock = ManualClock()
    let authority = LocalAuthority(plan: plan, clock: clock)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await authority.run() }
      try await body(authority, clock)
      group.cancelAll()
    }
  }

  private static func waiting(_ authority: LocalAuthority) -> Int {
    authority.reports().first?.report.waiting ?? 0
  }

  @Test("P01 of five parallel requests larger than the bucket one is granted each time it has filled up")
  func oversized() async throws {
    try await Self.with(plan()) { authority, clock in
      try await withThrowingTaskGroup(of: UInt64.self) { group in
        for number in UInt64(1)...5 {
          group.addTask { try await authority.acquire(request(number, tokens: 175)).grant.id.number }
        }
        for left in stride(from: 4, through: 0, by: -1) {
          await until { Self.waiting(authority) == left }
          #expect(authority.totalCharged(.inputTokens, of: key) == Int64(5 - left) * 175)
          _ = try await group.next()
          // From -75 to a full bucket of 100, at 20 a second.
          clock.advance(to: clock.now + .seconds(8))
          await until { left == 0 || clock.deadlines.contains { $0 > clock.now } }
          #expect(Self.waiting(authority) == left)
          clock.advance(to: clock.now + .milliseconds(800))
        }
      }
    }
  }

  @Test("P03 a thousand refused requests leave no charge: a small one passes after one refill")
  func refused() async throws {
    try await Self.with(plan(queueLimit: 1)) { authority, clock in
      _ = try await authority.acquire(request(1, tokens: 100))
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { _ = try await authority.acquire(request(2, tokens: 100)) }
        await until { Self.waiting(authority) == 1 }
        for number in UInt64(10)..<1_010 {
          await #expect(throws: AdmissionError.refused(.queueFull(limit: 1))) {
            try await authority.acquire(request(number, tokens: 100))
          }
        }
        clock.advance(to: seconds(5))
        try await group.waitForAll()
      }
      clock.advance(to: seconds(6))
      _ = try await authority.acquire(request(3, tokens: 10))
      #expect(authority.totalCharged(.inputTokens, of: key) == 210)
    }
  }

  @Test("P05 recorded use decays by itself; later writes don't postpone it")
  func decay() async throws {
    try await Self.with(plan()) { authority, clock in
      for number in UInt64(0)..<30 {
        let admission = try await authority.acquire(request(number, tokens: 10))
        authority.settle(admission, usage: Usage(input: 10, output: 0), isFinal: true)
        clock.advance(to: clock.now + .seconds(10))
      }
      func admitted() -> Int64? {
        authority.reports().first?.report.dimensions.first { $0.dimension == .inputTokens }?.admitted
      }
      #expect(admitted().map { $0 <= 70 } == true)
      clock.advance(to: clock.now + .seconds(120))
      #expect(admitted() == 0)
    }
  }

  @Test("P09 requests exhausted, tokens left: it waits, since every dimension counts")
  func dimensions() async throws {
    try await Self.with(plan(requests: 12)) { authority, clock in
      _ = try await authority.acquire(request(1, tokens: 1))
      try await withThrowingTaskGroup(of: Duration.self) { group in
        group.addTask { try await authority.acquire(request(2, tokens: 1)).grant.waited }
        await until { Self.waiting(authority) == 1 && !clock.deadlines.isEmpty }
        clock.advance(to: seconds(5))
        let waited = try await group.next()
        #expect(waited == .seconds(5))
      }
    }
  }

  @Test("P11 a grant that is settled twice, or released afterwards, is charged once")
  func twice() async throws {
    try await Self.with(plan()) { authority, _ in
      let admission = try await authority.acquire(request(1, tokens: 50))
      for _ in 0..<2 { authority.settle(admission, usage: Usage(input: 30, output: 0), isFinal: true) }
      authority.release(admission)
      #expect(authority.totalCharged(.inputTokens, of: key) == 30)
      #expect(authority.totalCharged(.requests, of: key) == 1)
    }
  }

  @Test("P21 a configuration set ten times a second admits nothing in addition")
  func reload() async throws {
    try await Self.with(plan()) { authority, clock in
      _ = try await authority.acquire(request(1, tokens: 100))
      var other = plan()
      other.entries[0].configuration.limits.inputTokens = 2_400
      for _ in 0..<50 {
        clock.advance(to: clock.now + .milliseconds(50))
        authority.configure(other)
        authority.configure(plan())
      }
      // 2.5 s at 20 a second at most: 60 don't fit.
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { _ = try await authority.acquire(request(2, tokens: 60)) }
        await until { Self.waiting(authority) == 1 }
        clock.advance(to: clock.now + .seconds(2))
        try await group.waitForAll()
      }
    }
  }

  @Test("A request whose task is cancelled leaves the line without a charge, and the next is served")
  func cancelled() async throws {
    try await Self.with(plan()) { authority, clock in
      _ = try await authority.acquire(request(1, tokens: 100))
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          await #expect(throws: AdmissionError.cancelled) { try await authority.acquire(request(2, tokens: 100)) }
        }
        await until { Self.waiting(authority) == 1 }
        group.cancelAll()
        try await group.waitForAll()
      }
      #expect(Self.waiting(authority) == 0)
      clock.advance(to: seconds(5))
      _ = try await authority.acquire(request(3, tokens: 100))
      #expect(authority.totalCharged(.inputTokens, of: key) == 200)
    }
  }

  @Test("A request that gets no grant before its deadline is told how long it waited")
  func deadline() async throws {
    try await Self.with(plan()) { authority, clock in
      _ = try await authority.acquire(request(1, tokens: 100))
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          await #expect(throws: AdmissionError.deadlineExceeded(waited: .seconds(2))) {
            try await authority.acquire(request(2, tokens: 100, deadline: seconds(2)))
          }
        }
        await until { Self.waiting(authority) == 1 && !clock.deadlines.isEmpty }
        clock.advance(to: seconds(2))
        try await group.waitForAll()
      }
    }
  }
}
