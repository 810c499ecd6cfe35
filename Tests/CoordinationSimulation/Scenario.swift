import TaskQueue

/// What befalls a fleet, drawn from a seed.
struct Scenario: Sendable, CustomStringConvertible {
  var seed: UInt64
  var pods: Int
  var slots: Int
  var tasks: Int
  /// How long faults last and tasks come.
  var length = Duration.seconds(240)
  /// Messages lost, of a thousand.
  var loss: Int
  /// Messages that come twice, of a thousand.
  var duplication: Int
  /// The longest time that a message takes, in milliseconds; each takes its own, so that they overtake one another.
  var delay: Int
  var crashes: Int
  /// Stops of processes, of up to 90 s: three leases.
  var pauses: Int
  var partitions: Int
  /// Pods that are drained and come back later: the fleet shrinks and grows.
  var drains: Int
  /// Gaps of the engine's leadership, of up to 10 s.
  var gaps: Int
  /// Times at which the engine stops handing out tasks of a shard.
  var stuck: Int
  /// Stored checkpoints that are damaged.
  var flips: Int
  /// Outages of the API, of up to 60 s.
  var outages: Int

  static func drawn(seed: UInt64) -> Scenario {
    var dice = Dice(state: seed &+ 0xC0DE)
    let isHarsh = dice.roll(3) == 0
    return Scenario(
      seed: seed, pods: 3 + dice.roll(8), slots: 2 + dice.roll(7), tasks: 60 + dice.roll(140),
      loss: dice.roll(isHarsh ? 80 : 20), duplication: dice.roll(isHarsh ? 80 : 20),
      delay: 2 + dice.roll(isHarsh ? 2_000 : 50),
      crashes: dice.roll(8), pauses: dice.roll(6), partitions: dice.roll(4), drains: dice.roll(6), gaps: dice.roll(5),
      stuck: dice.roll(3),
      flips: dice.roll(6), outages: dice.roll(3))
  }

  /// A fleet that nothing befalls.
  static func calm(seed: UInt64) -> Scenario {
    var scenario = drawn(seed: seed)
    scenario.pods = max(scenario.pods, 5)
    scenario.slots = max(scenario.slots, 4)
    (scenario.loss, scenario.duplication, scenario.delay, scenario.crashes, scenario.pauses) = (0, 0, 5, 0, 0)
    (scenario.drains, scenario.partitions, scenario.gaps, scenario.stuck, scenario.flips, scenario.outages) = (
      0, 0, 0, 0, 0, 0
    )
    return scenario
  }

  var description: String {
    "seed \(seed): \(pods) pods of \(slots) slots, \(tasks) tasks; loss \(loss) ‰, twice \(duplication) ‰, delay to \(delay) ms, "
      + "\(crashes) crashes, \(pauses) stops, \(partitions) partitions, \(drains) drains, \(gaps) gaps, \(stuck) stuck, \(flips) flips, \(outages) outages"
  }
}

/// What the tests count of a run.
struct Tally: Sendable {
  var acknowledged = 0
  var committed = 0
  var dead = 0
  var events = 0
  var calls = 0
  var repeated = 0
  var resumed = 0
  var stale = 0
  var leaderships = 0
  var moves = 0
  var worstCritical = Duration.zero
  var drainedAfter: Duration?
  var faults = 0

  static func + (lhs: Tally, rhs: Tally) -> Tally {
    var sum = lhs
    sum.acknowledged += rhs.acknowledged
    sum.committed += rhs.committed
    sum.dead += rhs.dead
    sum.events += rhs.events
    sum.calls += rhs.calls
    sum.repeated += rhs.repeated
    sum.resumed += rhs.resumed
    sum.stale += rhs.stale
    sum.leaderships += rhs.leaderships
    sum.moves += rhs.moves
    sum.faults += rhs.faults
    sum.worstCritical = max(sum.worstCritical, rhs.worstCritical)
    sum.drainedAfter = [sum.drainedAfter, rhs.drainedAfter].compactMap { $0 }.max()
    return sum
  }
}
