import BudgetSimulation
import RateBudget
import Testing

@Suite struct SettlingTests {
  private func granting(_ configuration: BudgetConfiguration, _ wish: GrantRequest) -> GroupBudget {
    var budget = GroupBudget(configuration: configuration, now: .zero)
    _ = budget.submit(wish, now: .zero)
    #expect(budget.advance(now: .zero).count == 1)
    return budget
  }

  private let id = GrantID(client: "pod", number: 1)

  @Test("P06: the last usage value wins, field by field; nothing is added up")
  func lastValueWins() {
    var usage = UsageAccumulator()
    usage.fold(Usage(input: 9, cacheRead: 1))
    usage.fold(Usage(input: 9, cacheRead: 1, output: 16))
    #expect(usage.usage == Usage(input: 9, cacheRead: 1, output: 16))
  }

  @Test("P07: a corrected input replaces the first one")
  func corrected() {
    var usage = UsageAccumulator()
    usage.fold(Usage(input: 8_834))
    var budget = granting(.plain(input: 10_000), request(1, input: 5_000))
    budget.settle(id, usage: usage.usage, isFinal: false, now: .zero)
    #expect(budget.units(.inputTokens, at: .zero) == 1_166)
    usage.fold(Usage(input: 18, cacheRead: 8_831))
    #expect(usage.usage.chargedInput == 18)
    budget.settle(id, usage: usage.usage, isFinal: true, now: .zero)
    #expect(budget.units(.inputTokens, at: .zero) == 9_982)
  }

  @Test("P08: cache fields that only the delta has are read")
  func lateCacheFields() {
    var usage = UsageAccumulator()
    usage.fold(Usage(input: 4_522))
    usage.fold(Usage(input: 4_522, cacheCreation: 4_511, output: 5))
    #expect(usage.usage.chargedInput == 9_033)
    #expect(usage.usage.output == 5)
  }

  @Test("P11: a grant settled twice, or after it expired, moves the balance once")
  func idempotent() {
    var budget = granting(.plain(requests: 60, input: 10_000), request(1, input: 5_000))
    let usage = Usage(input: 4_000, output: 100)
    guard case .applied = budget.settle(id, usage: usage, isFinal: true, now: .zero) else {
      Issue.record("not settled")
      return
    }
    #expect(budget.settle(id, usage: usage, isFinal: true, now: .zero) == .unknown)
    #expect(budget.release(id, now: .zero) == .unknown)
    #expect(budget.units(.inputTokens, at: .zero) == 6_000)
    #expect(budget.units(.requests, at: .zero) == 59)

    var late = granting(.plain(requests: 60, input: 10_000), request(1, input: 5_000, output: 700))
    _ = late.advance(now: at(660))
    #expect(late.outstandingCount == 0)
    let before = late.units(.inputTokens, at: at(660))
    #expect(late.settle(id, usage: usage, isFinal: true, now: at(660)) == .unknown)
    #expect(late.units(.inputTokens, at: at(660)) == before)
    #expect(late.totalCharged(.inputTokens) == 5_000, "a lost grant stays charged at its estimate")
    #expect(late.totalCharged(.outputTokens) == 700)
  }

  @Test("P12: a stream cut after some 200 output tokens without a usage event is charged by its characters")
  func cutStream() {
    var usage = UsageAccumulator()
    usage.fold(Usage(input: 100, output: 1))
    usage.deliver(characters: 803)
    var budget = granting(.plain(input: 10_000, output: 10_000), request(1, input: 100, output: 5_000))
    budget.settle(id, usage: usage.usage, isFinal: true, now: .zero)
    #expect(budget.totalCharged(.outputTokens) == 201)
    #expect(budget.outstandingCount == 0)
  }

  @Test("P22: a 529 leaves the use of the budget as it was")
  func overloaded() {
    var budget = GroupBudget(configuration: .plain(requests: 60, input: 10_000, output: 10_000), now: .zero)
    let untouched = budget.report(now: .zero)
    _ = budget.submit(request(1, input: 5_000, output: 300), now: .zero)
    _ = budget.advance(now: .zero)
    _ = budget.fail(id, now: .zero)
    let after = budget.report(now: .zero)
    #expect(after.dimensions == untouched.dimensions)
    #expect(budget.units(.requests, at: .zero) == 60)
    #expect(after.rejections[RejectionKind.overloaded.rawValue] == 1)
    #expect(after.throttledPPM == 0)

    var generator = SeededGenerator(seed: 1)
    _ = budget.submit(request(1, input: 5_000, output: 300), now: .zero)
    _ = budget.advance(now: .zero)
    let decision = budget.reject(id, verdict: UpstreamVerdict(status: 529), now: .zero, using: &generator)
    #expect(decision == .requeued(notBefore: .zero))
    #expect(granted(budget.advance(now: .zero)) == [id])
    #expect(budget.units(.requests, at: .zero) == 59)
  }

  @Test("Output is charged as it streams, by cumulative counts that may be repeated")
  func streaming() {
    var budget = granting(.plain(output: 60_000), request(1, output: 1_000))
    #expect(budget.units(.outputTokens, at: .zero) == 60_000)
    for output in [1, 250, 250, 240, 600] as [Int64] {
      budget.settle(id, usage: Usage(output: output), isFinal: false, now: .zero)
    }
    #expect(budget.units(.outputTokens, at: .zero) == 59_400)
    budget.settle(id, usage: Usage(output: 640), isFinal: true, now: .zero)
    #expect(budget.totalCharged(.outputTokens) == 640)
  }

  @Test("max_tokens reserves nothing: 128,000 on every request doesn't hold a stream back")
  func maximumIsNotReserved() {
    var budget = GroupBudget(configuration: .plain(output: 600_000), now: .zero)
    for number in 0..<100 {
      var wish = request(UInt64(number))
      wish.estimate = Estimate(input: 0, expectedOutput: 900, maxOutput: 128_000)
      _ = budget.submit(wish, now: .zero)
    }
    #expect(budget.advance(now: .zero).count == 100)
  }

  @Test("Streams are let in until their expected emission reaches the limit")
  func emission() {
    // 6,000 a minute are 100 a second; a stream is expected to make 60.
    var budget = GroupBudget(configuration: .plain(output: 6_000, burst: .seconds(2)), now: .zero)
    for number in 1...5 { _ = budget.submit(request(UInt64(number), output: 900), now: .zero) }
    #expect(budget.advance(now: .zero).count == 1)
    budget.settle(id, usage: Usage(output: 900), isFinal: true, now: at(15))
    #expect(budget.advance(now: at(15)).isEmpty, "the bucket is in debt")
    #expect(budget.run(from: at(15), to: at(30)).count == 1)
  }
}
