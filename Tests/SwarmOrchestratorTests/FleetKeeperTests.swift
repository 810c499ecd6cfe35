import CoordinationCore
import SwarmOrchestrator
import Testing

@Suite struct FleetKeeperTests {
  private func pod(_ slots: Int, plan: UInt64 = .max, incarnation: UInt64 = 1, at now: Duration) -> FleetBoard.Pod {
    var beat = PodHeartbeat(incarnation: incarnation, slots: slots)
    beat.plan = plan
    return .init(heartbeat: beat, heardAt: now)
  }

  private func fleet(_ count: Int, slots: Int, plan: UInt64 = .max, at now: Duration) -> [String: FleetBoard.Pod] {
    Dictionary(uniqueKeysWithValues: (0..<count).map { ("p\($0)", pod(slots, plan: plan, at: now)) })
  }

  @Test(
    "A new leader goes on with the plan of the last one: only its name and epoch change", arguments: [1, 7, 40, 120])
  func takeOver(pods: Int) throws {
    var first = FleetKeeper(epoch: 1, leader: "a", from: nil, flow: nil)
    var stored: PublishedPlan?
    for second in 0..<5 {
      let now = Duration.seconds(second)
      stored = first.handle(pods: fleet(pods, slots: 20, at: now), cells: [], now: now).plan ?? stored
    }
    let before = try #require(stored)
    var second = FleetKeeper(epoch: 2, leader: "b", from: before, flow: nil)
    let taken = second.handle(pods: fleet(pods, slots: 20, at: .seconds(900)), cells: [], now: .seconds(900)).plan
    var after = try #require(taken)
    #expect(after.epoch == 2 && after.leader == "b" && after.version == before.version + 1)
    (after.epoch, after.leader, after.version) = (before.epoch, before.leader, before.version)
    #expect(after == before)
    // And says nothing as long as nothing changes.
    for step in 901..<910 {
      let now = Duration.seconds(step)
      #expect(second.handle(pods: fleet(pods, slots: 20, at: now), cells: [], now: now).plan == nil)
    }
  }

  @Test("The layout changes only when each pod that is there has said that it knows")
  func layout() throws {
    var keeper = FleetKeeper(epoch: 1, leader: "p0", from: nil, flow: nil)
    let closing = try #require(
      keeper.handle(pods: fleet(30, slots: 50, plan: 0, at: .zero), cells: [], now: .zero).plan)
    #expect(closing.tier == .cells && closing.layout.shards == 1 && closing.layout.next == 16)
    var pods = fleet(30, slots: 50, plan: closing.version, at: .seconds(1))
    pods["p7"] = pod(50, plan: closing.version - 1, at: .seconds(1))
    #expect(keeper.handle(pods: pods, cells: [], now: .seconds(1)).plan == nil)
    // Its lease has ended in the store.
    pods["p7"] = nil
    let open = try #require(keeper.handle(pods: pods, cells: [], now: .seconds(31)).plan)
    #expect(open.layout.shards == 16 && open.layout.next == nil && open.layout.older == [1])
    // Another leader, in the middle of the way back.
    pods = fleet(2, slots: 5, plan: open.version, at: .seconds(40))
    var back: PublishedPlan?
    for second in 40..<300 where back?.layout.next == nil {
      let now = Duration.seconds(second)
      back =
        keeper.handle(pods: pods.mapValues { pod(5, plan: $0.heartbeat.plan, at: now) }, cells: [], now: now).plan
        ?? back
    }
    let half = try #require(back)
    #expect(half.layout.next == 1 && half.tier == .pods)
    var other = FleetKeeper(epoch: 2, leader: "p1", from: half, flow: nil)
    let waiting = try #require(other.handle(pods: pods, cells: [], now: .seconds(300)).plan)
    #expect(waiting.layout.next == 1 && waiting.layout.since == half.layout.since)
    pods = fleet(2, slots: 5, plan: half.version, at: .seconds(301))
    let flat = try #require(other.handle(pods: pods, cells: [], now: .seconds(301)).plan)
    #expect(flat.layout.shards == 1 && flat.layout.next == nil && flat.layout.older == [16])
  }

  @Test("A late pod keeps its cell and heads none; one that is silent for a lease is gone, and its cell with it")
  func suspicion() throws {
    var keeper = FleetKeeper(epoch: 1, leader: "p1", from: nil, flow: nil)
    var pods = fleet(2, slots: 5, at: .zero)
    #expect(try #require(keeper.handle(pods: pods, cells: [], now: .zero).plan).heads == [1: "p0"])
    pods["p1"] = pod(5, at: .seconds(21))
    let late = try #require(keeper.handle(pods: pods, cells: [], now: .seconds(21)).plan)
    #expect(late.heads == [1: "p1"] && late.cells[1]?.keys.sorted() == ["p0", "p1"])
    let gone = try #require(keeper.handle(pods: pods, cells: [], now: .seconds(31)).plan)
    #expect(gone.cells == [1: ["p1": 5]])
    // Under its old number it doesn't come back.
    pods["p0"] = pod(5, at: .seconds(32))
    pods["p1"] = pod(5, at: .seconds(32))
    #expect(keeper.handle(pods: pods, cells: [], now: .seconds(32)).plan == nil)
    pods["p0"] = pod(5, incarnation: 2, at: .seconds(33))
    #expect(try #require(keeper.handle(pods: pods, cells: [], now: .seconds(33)).plan).cells[1]?.count == 2)
  }
}
