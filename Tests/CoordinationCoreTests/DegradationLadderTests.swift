import CoordinationCore
import Testing

private func at(_ seconds: Int) -> Duration { .seconds(seconds) }

@Suite struct DegradationLadderTests {
  private var ladder = DegradationLadder()

  private mutating func measure(_ cause: DegradationCause, _ value: Int, _ second: Int) -> [DegradationLadder.Effect] {
    ladder.handle(.measured(cause, value), now: at(second))
  }

  @Test("A budget that runs short leads up by its marks, once it has lasted, and each move names its cause")
  mutating func up() {
    #expect(measure(.budget, 30, 0).isEmpty && ladder.nextDeadline == at(5))
    #expect(ladder.handle(.tick, now: at(5)) == [.init(from: .normal, to: .shedBulk, cause: .budget)])
    #expect(measure(.budget, 95, 6).isEmpty)
    #expect(measure(.budget, 95, 11) == [.init(from: .shedBulk, to: .noNewTasks, cause: .budget)])
    #expect(ladder.cause == .budget)
  }

  @Test("A dip that doesn't last changes nothing")
  mutating func dip() {
    for second in stride(from: 0, to: 100, by: 4) {
      #expect(measure(.budget, 95, second).isEmpty)
      #expect(measure(.budget, 0, second + 2).isEmpty)
    }
  }

  @Test("Down goes one rung at a time, each after a calm of 30 s")
  mutating func down() {
    #expect(measure(.memory, 99, 0).map(\.to) == [.park])
    #expect(measure(.memory, 50, 1).isEmpty)
    var moves: [Int] = []
    for second in 2...300 where !ladder.handle(.tick, now: at(second)).isEmpty { moves.append(second) }
    #expect(moves == [31, 61, 91, 121, 151] && ladder.rung == .normal && ladder.nextDeadline == nil)
  }

  @Test("A value that swings around a mark doesn't make it swing")
  mutating func hysteresis() {
    var moves = 0
    for second in 0..<1_000 { moves += measure(.memory, second % 2 == 0 ? 84 : 86, second).count }
    #expect(moves == 1 && ladder.rung == .shedBulk)
    #expect(measure(.memory, 79, 1_000).isEmpty)
    #expect(measure(.memory, 79, 1_030).map(\.to) == [.normal])
  }

  @Test(
    "The engine away: no new tasks at once, steps are finished after two leases, agents park after five minutes, and all return"
  )
  mutating func engine() {
    var rungs: [Int: DegradationRung] = [:]
    for second in 0...300 {
      for move in measure(.engine, second, second) { rungs[second] = move.to }
    }
    #expect(rungs == [2: .noNewTasks, 60: .finishSteps, 300: .park])
    for second in 301...500 { _ = measure(.engine, 0, second) }
    #expect(ladder.rung == .normal)
  }

  @Test("The worst cause decides, and another one holds what the first has left")
  mutating func several() {
    _ = measure(.drain, 10, 0)
    #expect(measure(.memory, 96, 1).map(\.cause) == [.memory] && ladder.rung == .finishSteps)
    _ = measure(.memory, 10, 2)
    for second in 3...200 { _ = ladder.handle(.tick, now: at(second)) }
    #expect(ladder.rung == .noNewTasks && ladder.cause == .drain)
  }
}
