import SlowTests
import Testing

@testable import CoordinationCore

private func at(_ seconds: Int) -> Duration { .seconds(seconds) }

@Suite struct CellMapTests {
  @Test(
    "Whatever the fleet does, each pod is in one cell, no cell is above its limit, and few pods move", .slow,
    arguments: 0..<15
  )
  func properties(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var map = CellMap()
    var pods: [String: Int] = [:]
    var (changed, moved, next) = (0, 0, 0)
    for _ in 0..<100 {
      let kind = dice.roll(4)
      for _ in 0..<(1 + dice.roll(20)) {
        switch kind {
        case 0, 1:
          pods["p\(next)"] = 20 + dice.roll(80)
          next += 1
        case 2:
          guard let pod = pods.keys.sorted().randomElement(using: &dice) else { continue }
          pods[pod] = 20 + dice.roll(80)
        default:
          guard let pod = pods.keys.sorted().randomElement(using: &dice) else { continue }
          pods[pod] = nil
        }
        changed += 1
      }
      let before = map
      let effects = map.update(pods: pods)
      check(map, pods, before, effects)
      moved += effects.count { if case .moved(_, .some, _) = $0 { true } else { false } }
      // Once more changes nothing.
      var again = map
      #expect(again.update(pods: pods).isEmpty)
      // A new orchestrator goes on from what was written down.
      #expect(CellMap(cells: map.cells, nextCell: map.nextCell) == map)
    }
    #expect(moved < changed / 2, "\(moved) pods moved for \(changed) changes")
  }

  private func check(_ map: CellMap, _ pods: [String: Int], _ before: CellMap, _ effects: [CellMap.Effect]) {
    #expect(map.cells.values.flatMap(\.keys).sorted() == pods.keys.sorted(), "a pod is nowhere, or twice")
    for cell in map.numbers { #expect(map.agents(cell) <= 1_000) }
    let total = pods.values.reduce(0, +)
    #expect(map.numbers.count <= max(1, (total + 249) / 250), "\(map.numbers.count) cells for \(total) agents")
    // What it says is what it does.
    var told = before.cells
    for effect in effects {
      switch effect {
      case .opened(let cell): told[cell] = [:]
      case .moved(let pod, let from, let to):
        if let from { told[from]?[pod] = nil }
        told[to]?[pod] = 0
      case .closed(let cell): told[cell] = nil
      }
    }
    let names = told.mapValues { $0.keys.filter { pods[$0] != nil }.sorted() }
    #expect(names == map.cells.mapValues { $0.keys.sorted() })
  }

  @Test("A fleet of up to 1,000 agents is one cell; one more pod makes two, and moves a fifth of the pods at most")
  func split() {
    var map = CellMap()
    var pods: [String: Int] = [:]
    for number in 0..<20 { pods["p\(number)"] = 50 }
    _ = map.update(pods: pods)
    #expect(map.numbers.count == 1)
    for number in 0..<20 { pods["p\(number)"] = 55 }
    let effects = map.update(pods: pods)
    let moved = effects.count { if case .moved = $0 { true } else { false } }
    #expect(map.numbers.count == 2 && moved == 6)
    // Back again: hysteresis keeps both until they are half of one.
    for number in 0..<20 { pods["p\(number)"] = 40 }
    #expect(map.update(pods: pods).isEmpty)
    for number in 0..<20 { pods["p\(number)"] = 25 }
    #expect(map.update(pods: pods).contains(.closed(2)) && map.numbers == [1])
  }
}

@Suite struct TierTests {
  @Test("Tiers follow the size: up at once, down after a minute clearly below, one at a time")
  func tiers() {
    var selector = TierSelector()
    #expect(selector.handle(agents: 10, now: at(0)) == nil)
    #expect(selector.handle(agents: 11, now: at(1)) == .orchestrated)
    #expect(selector.handle(agents: 5_000, now: at(2)) == .cells)
    #expect(selector.handle(agents: 900, now: at(3)) == nil && selector.handle(agents: 900, now: at(500)) == nil)
    var changes: [Int: FleetTier] = [:]
    for second in 501...1_000 {
      if let tier = selector.handle(agents: 5, now: at(second)) { changes[second] = tier }
    }
    #expect(changes == [561: .pods, 621: .orchestrated, 681: .inProcess])
  }

  @Test("A size that swings around a bound doesn't make the tier swing")
  func hysteresis() {
    var selector = TierSelector()
    let changes = (0..<10_000).count { selector.handle(agents: $0 % 2 == 0 ? 95 : 105, now: at($0)) != nil }
    #expect(changes == 2 && selector.tier == .pods)
  }
}

@Suite struct ShardMapTests {
  @Test("Each shard has a cell of the map, by size, and only those move that must", arguments: 0..<40)
  func properties(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var map = ShardMap(owners: [Int?](repeating: nil, count: 64))
    var cells = [1: 100]
    for step in 0..<50 {
      let before = map.owners
      switch dice.roll(3) {
      case 0: cells[step + 2] = 1 + dice.roll(1_000)
      case 1: if cells.count > 1 { cells[cells.keys.sorted()[dice.roll(cells.count)]] = nil }
      default: break
      }
      map.update(cells: cells)
      for (index, owner) in map.owners.enumerated() {
        #expect(cells[owner ?? 0] != nil)
        // Whose cell stays and isn't above its part keeps its shard.
        if let old = before[index], owner != old, cells[old] != nil {
          let part = map.owners.count { $0 == old }
          #expect(part == ShardMap.parts(64, cells: cells)[old])
        }
      }
      if cells.count <= 64 {
        for (cell, part) in ShardMap.parts(64, cells: cells) {
          #expect(map.owners.count { $0 == cell } == part && part > 0)
        }
      }
      let again = map
      map.update(cells: cells)
      #expect(map == again)
    }
  }
}

@Suite struct CellBalancerTests {
  private func summary(_ cell: Int, waiting: Int, oldest: Int = 10, free: Int, at second: Int = 0) -> CellSummary {
    CellSummary(cell: cell, waiting: waiting, oldest: at(oldest), freeSlots: free, slots: 1_000, at: at(second))
  }

  @Test(
    "Idle cells take from the cell whose tasks wait longest, half of what it can't do itself, and no more than they have slots"
  )
  func transfers() {
    var balancer = CellBalancer()
    let transfers = balancer.handle(
      [
        summary(1, waiting: 400, oldest: 20, free: 0), summary(2, waiting: 0, free: 150),
        summary(3, waiting: 0, free: 30), summary(4, waiting: 100, oldest: 1, free: 0),
      ], now: at(0))
    #expect(transfers == [.init(from: 1, to: 2, tasks: 150), .init(from: 1, to: 3, tasks: 30)])
  }

  @Test("Stale summaries say nothing, and who has given doesn't take for a while")
  func rest() {
    var balancer = CellBalancer()
    #expect(balancer.handle([summary(1, waiting: 400, free: 0), summary(2, waiting: 0, free: 90)], now: at(6)).isEmpty)
    #expect(
      balancer.handle([summary(1, waiting: 400, free: 0), summary(2, waiting: 0, free: 90)], now: at(1)).count == 1)
    let back = [summary(1, waiting: 0, free: 90, at: 5), summary(2, waiting: 400, free: 0, at: 5)]
    #expect(balancer.handle(back, now: at(5)).isEmpty)
    #expect(
      balancer.handle(
        [summary(1, waiting: 0, free: 90, at: 11), summary(2, waiting: 400, free: 0, at: 11)], now: at(11)
      ).count == 1)
  }

  @Test(
    "Two hundred cells with all the work in one are level within a minute, and nothing goes to and fro",
    arguments: 0..<5)
  func levels(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var balancer = CellBalancer()
    var waiting = (0..<20).map { _ in dice.roll(4) == 0 ? dice.roll(4_000) : 0 }
    waiting[0] = 6_000
    let slots = 100
    var gave: Set<Int> = []
    for second in 0..<60 {
      // Each slot does a task in 2 s.
      for cell in waiting.indices { waiting[cell] = max(0, waiting[cell] - slots / 2) }
      let summaries = waiting.indices.map { cell in
        summary(cell, waiting: waiting[cell], free: max(0, slots - waiting[cell]), at: second)
      }
      for transfer in balancer.handle(summaries, now: at(second)) {
        waiting[transfer.from] -= transfer.tasks
        waiting[transfer.to] += transfer.tasks
        gave.insert(transfer.from)
        #expect(transfer.tasks > 0 && waiting[transfer.from] >= 0)
      }
    }
    let total = waiting.reduce(0, +)
    #expect(waiting.max() ?? 0 <= max(3_000, total), "\(waiting)")
    #expect(waiting.count { $0 == 0 } < 12 || total == 0, "cells are idle: \(waiting)")
  }
}

@Suite struct OrchestratorTests {
  private func fleet(_ count: Int, slots: Int) -> FleetSnapshot {
    var snapshot = FleetSnapshot()
    for number in 0..<count { snapshot.pods["p\(number)"] = .init(slots: slots) }
    snapshot.budget = 1_000_003
    return snapshot
  }

  @Test("A new leader that is given what the store holds has the same plan")
  func rebuilt() {
    var snapshot = fleet(60, slots: 50)
    var old = Orchestrator(epoch: 1, from: snapshot)
    let first = old.plan(snapshot, now: at(0))
    #expect(first.cells.count == 3 && first.tier == .cells)
    (snapshot.cells, snapshot.nextCell, snapshot.tier) = (first.cells, first.nextCell, first.tier)
    snapshot.summaries = first.cells.keys.sorted().map {
      CellSummary(
        cell: $0, waiting: $0 == 1 ? 900 : 0, oldest: at(9), freeSlots: $0 == 1 ? 0 : 300, slots: 800, at: at(1))
    }
    var new = Orchestrator(epoch: 2, from: snapshot)
    var (one, two) = (old.plan(snapshot, now: at(1)), new.plan(snapshot, now: at(1)))
    #expect(one.epoch == 1 && two.epoch == 2)
    (one.epoch, two.epoch) = (0, 0)
    #expect(one == two && one.changes.isEmpty && !one.transfers.isEmpty)
  }

  @Test("The budget is split without rest, by demand, and no cell goes without", arguments: 0..<30)
  func budgets(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var snapshot = fleet(20 + dice.roll(60), slots: 20 + dice.roll(80))
    snapshot.budget = dice.roll(10_000_000)
    var orchestrator = Orchestrator(epoch: 1, from: snapshot)
    let first = orchestrator.plan(snapshot, now: at(0))
    (snapshot.cells, snapshot.nextCell) = (first.cells, first.nextCell)
    snapshot.summaries = first.cells.keys.sorted().filter { _ in dice.roll(5) > 0 }.map {
      CellSummary(cell: $0, waiting: dice.roll(500), oldest: .zero, freeSlots: dice.roll(400), slots: 800, at: at(1))
    }
    let plan = orchestrator.plan(snapshot, now: at(1))
    #expect(plan.budgets.values.reduce(0, +) == snapshot.budget)
    #expect(plan.budgets.keys.sorted() == plan.cells.keys.sorted())
    #expect(Set(plan.shards) == Set(plan.cells.keys))
    for budget in plan.budgets.values { #expect(budget >= snapshot.budget / 5 / plan.cells.count) }
  }

  @Test("A fleet that grows from one agent to 5,000 and back loses no pod at any tier")
  func sizes() {
    var snapshot = FleetSnapshot()
    var orchestrator = Orchestrator(epoch: 1, from: snapshot)
    var tiers: [FleetTier] = []
    for (step, size) in ([1, 2, 5, 10, 20, 50, 100, 200, 50, 10, 2, 1].enumerated()) {
      snapshot.pods = [:]
      for number in 0..<size { snapshot.pods["p\(number)"] = .init(slots: size > 10 ? 25 : 1) }
      for second in 0..<200 {
        let plan = orchestrator.plan(snapshot, now: at(1_000 * step + second))
        (snapshot.cells, snapshot.nextCell, snapshot.tier) = (plan.cells, plan.nextCell, plan.tier)
        #expect(plan.cells.values.flatMap(\.keys).sorted() == snapshot.pods.keys.sorted())
        if tiers.last != plan.tier { tiers.append(plan.tier) }
      }
    }
    #expect(tiers == [.inProcess, .pods, .cells, .pods, .orchestrated, .inProcess])
    #expect(snapshot.cells.count == 1)
  }
}
