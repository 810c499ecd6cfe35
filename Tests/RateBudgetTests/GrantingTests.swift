import BudgetSimulation
import RateBudget
import Testing

@Suite struct GrantingTests {
  @Test("P01: of five parallel requests larger than the bucket one is granted each time it has filled up")
  func oversized() {
    var budget = GroupBudget(configuration: .plain(input: 100), now: .zero)
    for number in 1...5 { #expect(budget.submit(request(UInt64(number), input: 175), now: .zero) == .queued) }
    #expect(budget.advance(now: .zero).count == 1)
    #expect(budget.units(.inputTokens, at: .zero) == -75)
    #expect(budget.advance(now: at(104)).isEmpty)
    #expect(budget.advance(now: at(105)).count == 1)
    #expect(budget.advance(now: at(105)).isEmpty)
  }

  @Test("P02: three sidecars that each offer 0.9 of the limit stay within it together")
  func together() {
    var configuration = BudgetConfiguration.plain(input: 60_000, burst: .seconds(5))
    configuration.bypass = .zero
    var budget = GroupBudget(configuration: configuration, now: .zero)
    for number in 0..<540 {
      for pod in ["a", "b", "c"] {
        _ = budget.submit(request(UInt64(number), client: pod, fleet: pod, input: 100), now: .zero)
      }
    }
    let grants = budget.run(from: .zero, to: at(60))
    #expect((640...650).contains(grants.count), "60,000 in a minute and a bucket of 5,000, not \(grants.count * 100)")
    let counts = ["a", "b", "c"].map { pod in Double(grants.filter { $0.outcome.id.client == pod }.count) }
    #expect(jain(counts) > 0.999)
  }

  @Test("P03: a thousand refused requests leave no charge: a small one passes after one refill")
  func refusedLeaveNoTrace() {
    var configuration = BudgetConfiguration.plain(requests: 60, input: 600, burst: .seconds(1))
    configuration.queueLimit = 1
    var budget = GroupBudget(configuration: configuration, now: .zero)
    _ = budget.submit(request(0, input: 10), now: .zero)
    #expect(budget.advance(now: .zero).count == 1)
    _ = budget.submit(request(1, input: 10, deadline: at(0.5)), now: .zero)
    for number in 2..<1_002 {
      #expect(budget.submit(request(UInt64(number), input: 10), now: .zero) == .refused(.queueFull(limit: 1)))
    }
    #expect(budget.advance(now: at(0.5)) == [.expired(GrantID(client: "pod", number: 1))])
    _ = budget.submit(request(2_000, input: 1), now: at(1))
    #expect(granted(budget.advance(now: at(1))).count == 1)
    #expect(budget.totalCharged(.requests) == 2)
    #expect(budget.totalCharged(.inputTokens) == 11)
  }

  @Test("P09: every dimension counts: without requests left, tokens don't help")
  func everyDimension() {
    var budget = GroupBudget(configuration: .plain(requests: 1, input: 1_000_000), now: .zero)
    _ = budget.submit(request(1, input: 10), now: .zero)
    _ = budget.submit(request(2, input: 10), now: .zero)
    #expect(budget.advance(now: .zero).count == 1)
    #expect(budget.units(.inputTokens, at: .zero) == 999_990)
    #expect(budget.advance(now: at(59.9)).isEmpty)
    #expect(budget.advance(now: at(60)).count == 1)
  }

  @Test("A limit that counts cache reads holds beside the one that doesn't")
  func totalInput() {
    var budget = GroupBudget(configuration: .plain(input: 1_000, total: 1_000), now: .zero)
    _ = budget.submit(request(1, input: 10, total: 900), now: .zero)
    _ = budget.submit(request(2, input: 10, total: 900), now: .zero)
    #expect(budget.advance(now: .zero).count == 1)
    #expect(budget.nextDeadline(now: .zero)! <= at(1))
    #expect(budget.run(from: .zero, to: at(60)).map(\.time) == [at(48)])
  }

  @Test("A cancelled request leaves no trace")
  func cancel() {
    var with = GroupBudget(configuration: .plain(requests: 10, input: 1_000), now: .zero)
    var without = with
    for number in 1...50 { _ = with.submit(request(UInt64(number), client: "x", fleet: "f", input: 900), now: .zero) }
    for number in 1...50 { #expect(with.cancel(GrantID(client: "x", number: UInt64(number)), now: .zero) == true) }
    #expect(with.cancel(GrantID(client: "x", number: 1), now: .zero) == false)
    for number in 1...5 {
      _ = with.submit(request(UInt64(number), input: 300), now: .zero)
      _ = without.submit(request(UInt64(number), input: 300), now: .zero)
    }
    let left = with.run(from: .zero, to: at(200)).map { "\($0)" }
    #expect(left == without.run(from: .zero, to: at(200)).map { "\($0)" })
    #expect(with.waitingCount == 0)
  }

  @Test("The same id is one request, waiting or granted")
  func duplicates() {
    var budget = GroupBudget(configuration: .plain(requests: 60), now: .zero)
    #expect(budget.submit(request(1), now: .zero) == .queued)
    #expect(budget.submit(request(1), now: .zero) == .alreadyQueued)
    guard case .granted(let grant)? = budget.advance(now: .zero).first else {
      Issue.record("not granted")
      return
    }
    #expect(budget.submit(request(1), now: .zero) == .alreadyGranted(grant))
    #expect(budget.totalCharged(.requests) == 1)
  }

  @Test("Priority classes are served in order, and a class further up after each ageing time")
  func priorities() {
    var configuration = BudgetConfiguration.plain(requests: 60, burst: .seconds(1))
    configuration.ageing = .seconds(10)
    var budget = GroupBudget(configuration: configuration, now: .zero)
    _ = budget.submit(request(9), now: .zero)
    _ = budget.advance(now: .zero)
    for (number, priority) in [Priority.low, .normal, .high, .interactive].enumerated() {
      _ = budget.submit(request(UInt64(number), priority: priority), now: .zero)
    }
    #expect(granted(budget.run(from: .zero, to: at(4.5)).map(\.outcome)).map(\.number) == [3, 2, 1, 0])

    _ = budget.submit(request(100, client: "low", fleet: "low", priority: .low), now: at(5))
    var waited: BudgetTime?
    for step in 0..<600 where waited == nil {
      let now = at(5 + Double(step) * 0.1)
      // Twice as many urgent requests as the budget carries.
      if step % 5 == 0 { _ = budget.submit(request(UInt64(1_000 + step), priority: .interactive), now: now) }
      if granted(budget.advance(now: now)).contains(GrantID(client: "low", number: 100)) { waited = now }
    }
    let when = waited ?? at(1_000)
    #expect(when >= at(34) && when <= at(40), "ages to the top after 30 s, and its fleet is behind by then: \(when)")
  }

  @Test("Ageing moves a request up the line, but not into the reserve")
  func agedReserve() {
    var configuration = BudgetConfiguration.plain(requests: 600, burst: .seconds(6))
    configuration.reservePercent = 5
    configuration.ageing = .seconds(10)
    var budget = GroupBudget(configuration: configuration, now: .zero)
    for number in 0..<3_000 { _ = budget.submit(request(UInt64(number)), now: .zero) }
    _ = budget.run(from: .zero, to: at(120))
    #expect(budget.waitingCount > 0)
    #expect(budget.units(.requests, at: at(120)) >= 28)
  }

  @Test("Above 80 % use the reserve is for the most urgent class; below it anybody may have it")
  func reserve() {
    var configuration = BudgetConfiguration.plain(requests: 600, burst: .seconds(6))
    configuration.reservePercent = 5
    var budget = GroupBudget(configuration: configuration, now: .zero)
    for number in 0..<60 { _ = budget.submit(request(UInt64(number)), now: .zero) }
    #expect(budget.advance(now: .zero).count == 60, "idle: the whole bucket")
    for number in 100..<2_000 { _ = budget.submit(request(UInt64(number)), now: .zero) }
    _ = budget.run(from: .zero, to: at(70))
    #expect(budget.units(.requests, at: at(70)) >= 28)
    for number in 0..<40 {
      _ = budget.submit(request(UInt64(number), client: "human", priority: .interactive), now: at(70))
    }
    let urgent = granted(budget.advance(now: at(70))).filter { $0.client == "human" }
    #expect(urgent.count >= 28)
  }

  @Test("Small requests don't starve a large one: it waits no longer than the bypass time and its own filling")
  func largeIsNotStarved() {
    var budget = GroupBudget(configuration: .plain(input: 600_000, burst: .seconds(5)), now: .zero)
    var number: UInt64 = 10
    _ = budget.submit(request(1, client: "warm", input: 50_000), now: .zero)
    _ = budget.advance(now: .zero)
    _ = budget.submit(request(2, client: "large", input: 40_000), now: .zero)
    var served: BudgetTime?
    for step in 0..<2_000 where served == nil {
      let now = at(Double(step) * 0.01)
      for _ in 0..<2 {
        number += 1
        _ = budget.submit(request(number, client: "small", input: 200), now: now)
      }
      if granted(budget.advance(now: now)).contains(GrantID(client: "large", number: 2)) { served = now }
    }
    // The bypass time is 2 s, the filling 4 s.
    #expect((served ?? at(1_000)) <= at(6.1))
  }

  @Test("A pod with a thousand requests doesn't keep its neighbours waiting")
  func roundRobin() {
    var budget = GroupBudget(configuration: .plain(requests: 60, burst: .seconds(1)), now: .zero)
    for number in 0..<1_000 { _ = budget.submit(request(UInt64(number), client: "hot"), now: .zero) }
    for pod in 0..<5 { _ = budget.submit(request(1, client: "cool\(pod)"), now: .zero) }
    let first = granted(budget.run(from: .zero, to: at(9)).map(\.outcome)).prefix(7).map(\.client)
    #expect(first == ["hot", "cool0", "cool1", "cool2", "cool3", "cool4", "hot"])
  }

  @Test("Fleets share by weight, whatever the size of their requests")
  func weights() {
    let configuration = BudgetConfiguration.plain(
      input: 6_000_000, burst: .seconds(2), fleets: ["a": .init(weight: 3), "b": .init(weight: 1)])
    var budget = GroupBudget(configuration: configuration, now: .zero)
    for number in 0..<4_000 {
      _ = budget.submit(request(UInt64(number), client: "a", fleet: "a", input: 1_000), now: .zero)
      if number < 400 { _ = budget.submit(request(UInt64(number), client: "b", fleet: "b", input: 20_000), now: .zero) }
    }
    let grants = granted(budget.run(from: .zero, to: at(30)).map(\.outcome))
    let a = grants.filter { $0.client == "a" }.count * 1_000
    let b = grants.filter { $0.client == "b" }.count * 20_000
    #expect(abs(Double(a) / Double(b) - 3) < 0.15, "\(a) to \(b)")
  }

  @Test("An idle fleet saves up no claim, and one that used everything alone owes nothing")
  func noMemoryOfIdleness() {
    var budget = GroupBudget(configuration: .plain(requests: 600, burst: .seconds(1)), now: .zero)
    for number in 0..<900 { _ = budget.submit(request(UInt64(number), client: "a", fleet: "a"), now: .zero) }
    _ = budget.run(from: .zero, to: at(30))
    for number in 0..<300 { _ = budget.submit(request(UInt64(number), client: "b", fleet: "b"), now: at(30)) }
    let grants = granted(budget.run(from: at(30), to: at(40)).map(\.outcome))
    let counts = ["a", "b"].map { name in Double(grants.filter { $0.client == name }.count) }
    #expect(jain(counts) > 0.99, "\(counts)")
  }

  @Test("A request expires at its deadline, not before and not after")
  func deadlines() {
    var budget = GroupBudget(configuration: .plain(requests: 1), now: .zero)
    _ = budget.submit(request(1), now: .zero)
    _ = budget.submit(request(2, deadline: at(3)), now: .zero)
    #expect(
      budget.run(from: .zero, to: at(10)).map { "\($0.time.nanoseconds) \($0.outcome.id.number)" } == [
        "0 1", "3000000000 2",
      ])
  }
}
