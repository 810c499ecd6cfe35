import CoordinationCore
import CoordinationEngine
import LocalEngine
import SlowTests
import SwarmOrchestrator
import Synchronization
import TaskQueue
import Testing

/// What clients were told and workers have committed.
final class Ledger: Sendable {
  private struct State {
    var ids: [String: TaskID] = [:]
    var moved: [String] = []
    var commits: [String: Int] = [:]
    var firstTold: [String: Int] = [:]
  }
  private let state = Mutex(State())

  func note(_ key: String, _ submission: Submission) {
    state.withLock { state in
      if let known = state.ids[key], known != submission.id { state.moved.append(key) }
      if !submission.isDuplicate { state.firstTold[key, default: 0] += 1 }
      state.ids[key] = submission.id
    }
  }
  func commit(_ key: String) { state.withLock { $0.commits[key, default: 0] += 1 } }
  var keys: [String] { state.withLock { $0.ids.keys.sorted() } }
  /// Keys that named two tasks.
  var moved: [String] { state.withLock { $0.moved } }
  var committed: Int { state.withLock { $0.commits.count } }
  var twice: [String] { state.withLock { $0.commits.filter { $0.value > 1 }.keys.sorted() } }
  var taken: Int { state.withLock { $0.ids.count } }
}

@Suite(.alone) struct GrowthTests {
  private static let queue = "reviews"

  private func work(_ pod: TestPod, _ clock: TestClock, _ ledger: Ledger, seed: UInt64) async {
    var dice = Dice(state: seed)
    while !Task.isCancelled {
      let request = ClaimRequest(queue: Self.queue, worker: pod.name, maximum: 1 + dice.roll(4))
      guard let claimed = try? await pod.tasks.claim(request, wait: .seconds(2)) else {
        try? await clock.sleep(until: clock.now + .seconds(1))
        continue
      }
      try? await clock.sleep(until: clock.now + .milliseconds(100 + dice.roll(900)))
      guard !Task.isCancelled else { return }
      for task in claimed {
        if dice.roll(50) == 0 {
          _ = try? await pod.tasks.fail(task.ticket, reason: "chance", isRetryable: true, delay: nil)
        } else if (try? await pod.tasks.complete(task.ticket, result: [1])) == .committed {
          ledger.commit(task.key?.name ?? "")
        }
      }
    }
  }

  private func submit(_ count: Int, _ pods: [TestPod], _ ledger: Ledger, _ dice: inout Dice) async throws {
    var left = count
    while left > 0 {
      let batch = 1 + dice.roll(min(left, 8))
      left -= batch
      let known = ledger.taken
      let names = Set(
        (0..<batch).map { _ in
          // One in five is said again, perhaps long after, by whoever it is.
          "k\(dice.roll(5) == 0 && known > 0 ? dice.roll(known) : known + dice.roll(50))"
        }
      ).sorted()
      let tasks = names.map { name in
        NewTask(lane: TaskLane.allCases[dice.roll(4)], key: TaskKey(name), payload: [1], attempts: 20)
      }
      let answers = try await pods[dice.roll(pods.count)].tasks.submit(tasks, to: Self.queue)
      for (name, answer) in zip(names, answers) { ledger.note(name, answer) }
    }
  }

  private struct Member {
    var pod: TestPod
    var worker: Task<Void, Never>

    func end(kill: Bool) async {
      worker.cancel()
      await worker.value
      if kill { await pod.kill() } else { await pod.leave() }
    }
  }

  @Test(
    "A fleet grows from 5 to 50, 500 and 2,000 agents and back while tasks flow: none is lost, none is committed twice, and a key names one task",
    arguments: 0..<2)
  func growth(seed: Int) async throws {
    try await oneAtATime {
      let clock = TestClock()
      let engine = LocalEngine(clock: clock)
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await engine.run() }
        try await grow(seed, clock, engine)
        await engine.close()
        group.cancelAll()
      }
    }
  }

  private func grow(_ seed: Int, _ clock: TestClock, _ engine: LocalEngine) async throws {
    var dice = Dice(state: UInt64(seed))
    let ledger = Ledger()
    var members: [Member] = []
    var tiers: [FleetTier] = []
    var layouts: [Int] = []
    var next = 0
    for (count, slots) in [(1, 5), (5, 10), (5, 100), (20, 100), (5, 100), (5, 10), (1, 5)] {
      while members.count > count || members.contains(where: { $0.pod.slots.withLock { $0 } != slots }) {
        let index = members.firstIndex { $0.pod.slots.withLock { $0 } != slots } ?? dice.roll(members.count)
        await members.remove(at: index).end(kill: dice.roll(3) == 0)
      }
      while members.count < count {
        next += 1
        let pod = TestPod(
          "pod-\(next)", slots: slots, engine: engine, clock: clock, canLead: next % 3 == 1 || count == 1)
        pod.start()
        let seed = dice.next()
        // Owned: the member, which ends it.
        let worker = Task(executorPreference: OneAtATime.current) { await work(pod, clock, ledger, seed: seed) }
        members.append(Member(pod: pod, worker: worker))
      }
      let wanted = FleetTier(agents: count * slots)
      // Tiers fall one by one, after a minute each; leases of what was killed end first.
      for _ in 0..<300 {
        let pods = members.map(\.pod)
        let (burst, seed) = (10 + dice.roll(30), dice.next())
        let isSubmitted = FlakyEngine.Flag()
        async let submitted: Void = {
          defer { isSubmitted.set(true) }
          try await submit(burst, pods, ledger, seed: seed)
        }()
        await clock.advance(by: .seconds(2))
        // Keys wait while a layout changes: up to a lease, where a pod was killed.
        for _ in 0..<400 where !isSubmitted.value { await clock.advance(by: .milliseconds(250)) }
        guard isSubmitted.value else { throw CancellationError() }
        try await submitted
        let plan = pods[0].place.plan
        let isThere = pods.allSatisfy {
          $0.place.plan.tier == wanted && $0.place.plan.layout.shards == (wanted == .cells ? 16 : 1)
        }
        if isThere, plan.pods == count { break }
      }
      tiers.append(members[0].pod.place.plan.tier)
      layouts.append(members[0].pod.place.plan.layout.shards)
    }
    #expect(tiers == [.inProcess, .orchestrated, .pods, .cells, .pods, .orchestrated, .inProcess])
    #expect(layouts == [1, 1, 1, 16, 1, 1, 1])
    for _ in 0..<120 where ledger.committed < ledger.taken { await clock.advance(by: .seconds(5)) }
    #expect(ledger.moved.isEmpty, "keys that named two tasks: \(ledger.moved.prefix(5))")
    #expect(ledger.twice.isEmpty, "committed twice: \(ledger.twice.prefix(5))")
    #expect(ledger.committed == ledger.taken && ledger.taken > 500, "\(ledger.committed) of \(ledger.taken)")
    let counts = try await members[0].pod.tasks.statistics(of: Self.queue)[Self.queue]
    #expect(counts?.outstanding == 0 && counts?.lost == 0 && counts?.done == ledger.taken)
    for member in members { await member.end(kill: true) }
  }

  private func submit(_ count: Int, _ pods: [TestPod], _ ledger: Ledger, seed: UInt64) async throws {
    var dice = Dice(state: seed)
    try await submit(count, pods, ledger, &dice)
  }
}
