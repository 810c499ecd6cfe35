import CoordinationProtocol
import RateBudget
import SwarmCoordination
import Testing

private func seconds(_ value: Int64) -> BudgetTime { BudgetTime(nanoseconds: value * 1_000_000_000) }

private func traffic(waiting: Int = 0, inFlight: Int = 0) -> ClaudeGateway.Activity {
  ClaudeGateway.Activity(waiting: waiting, inFlight: inFlight, oldest: inFlight + waiting > 0 ? .seconds(3) : nil)
}

private func order(_ number: UInt64, _ timeout: Duration = .seconds(60), isWithdrawn: Bool = false) -> DrainOrder {
  DrainOrder(order: number, timeout: timeout, isWithdrawn: isWithdrawn)
}

private func until(_ condition: () -> Bool) async {
  while !condition(), !Task.isCancelled { await Task.yield() }
}

@Suite struct DrainDutyTests {
  @Test("An order is accepted with work, drained without, and says again what changes")
  func states() {
    var duty = DrainDuty()
    #expect(duty.receive(order(1), isIdle: false, now: .zero)?.state == .accepted && duty.stands)
    #expect(duty.update(isIdle: false, now: seconds(1)) == nil)
    #expect(duty.update(isIdle: true, now: seconds(2))?.state == .drained)
    #expect(duty.update(isIdle: true, now: seconds(3)) == nil)
    #expect(duty.update(isIdle: false, now: seconds(4))?.state == .accepted)
    let withdrawal = duty.receive(order(2, isWithdrawn: true), isIdle: false, now: seconds(5))
    #expect(withdrawal == DrainAnswer(order: 2, state: .refused) && !duty.stands)
  }

  @Test("An order ends with its time, and isn't begun anew by being repeated")
  func timeout() {
    var duty = DrainDuty()
    _ = duty.receive(order(1, .seconds(10)), isIdle: true, now: .zero)
    // A new stream of the same coordinator: it is answered again, and keeps its time.
    #expect(duty.receive(order(1, .seconds(10)), isIdle: true, now: seconds(6))?.state == .drained)
    #expect(duty.update(isIdle: true, now: seconds(10))?.state == .refused && !duty.stands)
    #expect(duty.receive(order(1, .seconds(10)), isIdle: true, now: seconds(11))?.state == .refused && !duty.stands)
    #expect(duty.receive(order(2, .seconds(10)), isIdle: true, now: seconds(12))?.state == .drained && duty.stands)
  }

  @Test("An order that an older coordinator gave is passed over")
  func older() {
    var duty = DrainDuty()
    _ = duty.receive(order(9), isIdle: true, now: .zero)
    #expect(duty.receive(order(8, isWithdrawn: true), isIdle: true, now: .zero) == nil && duty.stands)
  }
}

@Suite struct AgentPoolStateTests {
  @Test("Slots are given in the order of the calls; a place in line that is given up goes to nobody")
  func slots() {
    var pool = AgentPoolState(slots: 2, now: .zero)
    let entries = (0..<5).map { _ in pool.enter(now: .zero) }
    #expect(entries.map(\.entry) == [.taken, .taken, .waiting, .waiting, .waiting])
    #expect(pool.busy == 2 && pool.waiting == 3 && !pool.hasRoom)
    #expect(pool.leave(entries[2].number, now: .zero) == [])
    #expect(pool.leave(entries[0].number, now: .zero) == [entries[3].number])
    #expect(pool.leave(entries[1].number, now: .zero) == [entries[4].number])
    #expect(pool.leave(entries[3].number, now: .zero) == [] && pool.hasRoom)
  }

  @Test("While draining nobody gets a slot, and whoever waits is turned away")
  func draining() {
    var pool = AgentPoolState(slots: 1, now: .zero)
    let (first, second) = (pool.enter(now: .zero), pool.enter(now: .zero))
    #expect(pool.report(traffic(), now: .zero).activity == WorkerActivity(slots: 1, busy: 1, queued: 1))
    pool.receive(order(1), traffic(), now: .zero)
    #expect(pool.isDraining && pool.enter(now: .zero).entry == .draining)
    #expect(pool.turnAway() == [second.number])
    #expect(pool.report(traffic(), now: .zero).answers.map(\.state) == [.accepted])
    #expect(pool.leave(first.number, now: .zero) == [])
    #expect(pool.report(traffic(), now: .zero).answers.map(\.state) == [.drained])
    pool.receive(order(2, isWithdrawn: true), traffic(), now: .zero)
    #expect(pool.enter(now: .zero).entry == .taken)
  }

  @Test("Only what has changed is reported; the age of the oldest work is refreshed")
  func reports() {
    var pool = AgentPoolState(slots: 4, now: .zero)
    #expect(pool.report(traffic(), now: .zero).activity == WorkerActivity(slots: 4))
    #expect(pool.report(traffic(), now: seconds(100)) == AgentPoolState.Report())
    let slot = pool.enter(now: seconds(100))
    let busy = pool.report(traffic(waiting: 1, inFlight: 2), now: seconds(103))
    #expect(
      busy.activity == WorkerActivity(slots: 4, busy: 1, inFlight: 2, waiting: 1, oldestAge: .seconds(3))
        && busy.next == seconds(108))
    #expect(pool.report(traffic(waiting: 1, inFlight: 2), now: seconds(104)).activity == nil)
    #expect(pool.report(traffic(waiting: 1, inFlight: 2), now: seconds(108)).activity?.oldestAge == .seconds(8))
    _ = pool.leave(slot.number, now: seconds(109))
    #expect(pool.report(traffic(), now: seconds(109)).activity == WorkerActivity(slots: 4, completed: 1))
  }

  @Test("What is saved isn't lost: the age of unsaved work is that of the slot with most of it")
  func saved() {
    var pool = AgentPoolState(slots: 2, now: .zero)
    let (first, second) = (pool.take(now: .zero), pool.take(now: seconds(1)))
    #expect(pool.report(traffic(), now: seconds(10)).activity?.unsavedAge == nil, "none has said that it saves")
    pool.save(first, now: seconds(20))
    #expect(pool.report(traffic(), now: seconds(30)).activity?.unsavedAge == .seconds(29))
    pool.save(second, now: seconds(31))
    #expect(pool.report(traffic(), now: seconds(36)).activity?.unsavedAge == .seconds(16))
    pool.save(99, now: seconds(36))
    _ = pool.leave(first, now: seconds(36))
    _ = pool.leave(second, now: seconds(36))
    #expect(pool.report(traffic(), now: seconds(37)).activity == WorkerActivity(slots: 2, completed: 2))
  }

  @Test("While a task is being fetched the pool isn't drained: one may come although nobody wants it any more")
  func fetched() {
    var pool = AgentPoolState(slots: 1, now: .zero)
    pool.beginFetch()
    pool.receive(order(1), traffic(), now: seconds(1))
    #expect(pool.report(traffic(), now: seconds(1)).answers == [DrainAnswer(order: 1, state: .accepted)])
    #expect(!pool.isDrained(traffic(), now: seconds(30)))
    #expect(
      pool.standingDrain(traffic(), now: seconds(5)) == StandingDrain(order: 1, age: .seconds(4), state: .accepted))
    pool.endFetch()
    #expect(pool.report(traffic(), now: seconds(31)).answers == [DrainAnswer(order: 1, state: .drained)])
    #expect(pool.isDrained(traffic(), now: seconds(31)))
    #expect(pool.standingDrain(traffic(), now: seconds(31))?.state == .drained)
    #expect(pool.standingDrain(traffic(), now: seconds(61)) == nil, "its time is over")
  }

  @Test("A worker without slots of its own is what its requests and its word say")
  func silent() {
    var pool = AgentPoolState(slots: 0, now: .zero)
    #expect(pool.report(traffic(waiting: 2, inFlight: 3), now: .zero).activity?.busy == 5)
    pool.say(isBusy: true, now: seconds(1))
    let busy = pool.report(traffic(), now: seconds(3)).activity
    #expect(busy?.busy == 1 && busy?.oldestAge == .seconds(2))
    #expect(pool.isBusy(traffic()))
  }

  @Test("A worker that says nothing counts as drained after a silence, one that says idle at once")
  func quiet() {
    var pool = AgentPoolState(slots: 0, quiet: .seconds(10), now: .zero)
    _ = pool.report(traffic(inFlight: 1), now: seconds(20))
    pool.receive(order(1), traffic(), now: seconds(21))
    let report = pool.report(traffic(), now: seconds(21))
    #expect(report.answers.map(\.state) == [.accepted] && report.next == seconds(30), "a tool may be running")
    #expect(pool.report(traffic(), now: seconds(30)).answers.map(\.state) == [.drained])
    #expect(pool.report(traffic(inFlight: 1), now: seconds(31)).answers.map(\.state) == [.accepted])
    pool.say(isBusy: false, now: seconds(32))
    #expect(pool.report(traffic(), now: seconds(32)).answers.map(\.state) == [.drained])
  }
}

@Suite struct AgentPoolTests {
  @Test("A cancelled wait leaves the line, and the others get their turn")
  func cancelled() async throws {
    let pool = AgentPool(slots: 1, clock: ManualClock())
    try await pool.withSlot {
      await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await pool.withSlot {} }
        await until { pool.waiting == 1 }
        group.cancelAll()
        await #expect(throws: CancellationError.self) { try await group.next() }
      }
      #expect(pool.waiting == 0 && pool.busy == 1)
    }
    #expect(pool.busy == 0)
    #expect(try await pool.withSlot { 7 } == 7)
  }

  @Test("A drain waits for the last slot, turns away who waits, and ends the work loop")
  func drain() async throws {
    let pool = AgentPool(slots: 1, clock: ManualClock())
    try await withThrowingTaskGroup(of: Bool.self) { group in
      try await pool.withSlot {
        group.addTask {
          do throws(any Error) { try await pool.withSlot {} } catch { return error is AgentPool.Draining }
          return false
        }
        await until { pool.waiting == 1 }
        group.addTask {
          try await pool.drain()
          return pool.busy == 0
        }
        try await pool.untilDraining()
        #expect(try await group.next() == true, "the one in line is turned away while the slot is held")
      }
      #expect(try await group.next() == true)
    }
    try await pool.work(taking: { 1 }) { _ in Issue.record("a task was taken") }
    await #expect(throws: AgentPool.Draining.self) { try await pool.ready() }
  }

  @Test("The work loop takes a task only when a slot is free, and ends when there are no more")
  func work() async throws {
    let pool = AgentPool(slots: 2, clock: ManualClock())
    let numbers = Numbers(9)
    let peak = Peak()
    try await pool.work(taking: { await numbers.next() }) { _ in
      await peak.note(pool.busy)
      for _ in 0..<10 { await Task.yield() }
    }
    #expect(await numbers.taken == 9)
    #expect(await peak.value == 2 && pool.busy == 0)
  }

  @Test("An error of the work is thrown, and every slot is free again")
  func failing() async throws {
    struct Broken: Error {}
    let pool = AgentPool(slots: 2, clock: ManualClock())
    await #expect(throws: Broken.self) { try await pool.work(taking: { 1 }) { _ in throw Broken() } }
    #expect(pool.busy == 0 && pool.waiting == 0)
  }
}

private actor Numbers {
  private let count: Int
  private(set) var taken = 0
  init(_ count: Int) { self.count = count }
  func next() -> Int? {
    guard taken < count else { return nil }
    taken += 1
    return taken
  }
}

private actor Peak {
  private(set) var value = 0
  func note(_ new: Int) { value = max(value, new) }
}
