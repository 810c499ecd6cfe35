/// What a cell tells of itself once a second.
package struct CellSummary: Hashable, Sendable {
  /// The cell's number.
  package var cell: Int
  /// Tasks that wait and may be worked on elsewhere.
  package var waiting: Int
  /// The age of the oldest of them.
  package var oldest: Duration
  /// Slots without work.
  package var freeSlots: Int
  /// All slots.
  package var slots: Int
  /// When that was so.
  package var at: Duration

  /// Puts a summary together.
  package init(cell: Int, waiting: Int, oldest: Duration, freeSlots: Int, slots: Int, at: Duration) {
    self.cell = cell
    self.waiting = waiting
    self.oldest = oldest
    self.freeSlots = freeSlots
    self.slots = slots
    self.at = at
  }
}

/// Lets idle cells take work from cells where it waits, by summaries only: no task passes through it.
///
/// The idle cell's pods claim from the other cell's queue, under the same leases and epochs: what goes wrong costs a claim, never a task. A cell
/// that has given lately doesn't take, and the other way round, so that summaries that are a second old don't send work to and fro.
package struct CellBalancer: Hashable, Sendable {
  /// When work moves.
  package struct Policy: Hashable, Sendable {
    /// Tasks that wait no longer than this are the cell's own affair.
    package var patience = Duration.seconds(2)
    /// Summaries older than this say nothing.
    package var freshness = Duration.seconds(5)
    /// How long a cell keeps the part that it played.
    package var rest = Duration.seconds(10)
    /// Tasks that one transfer moves at most.
    package var transferTasks = 256

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// A number of tasks that the pods of one cell may claim from another.
  package struct Transfer: Hashable, Sendable {
    /// Where they wait.
    package var from: Int
    /// Whose slots are free.
    package var to: Int
    /// How many.
    package var tasks: Int

    /// Describes a transfer.
    package init(from: Int, to: Int, tasks: Int) {
      self.from = from
      self.to = to
      self.tasks = tasks
    }
  }

  private let policy: Policy
  private var gave: [Int: Duration] = [:]
  private var took: [Int: Duration] = [:]

  /// A balancer that knows of no transfers.
  package init(policy: Policy = Policy()) { self.policy = policy }

  /// Chooses transfers: of the cell whose tasks have waited longest to the one with the most free slots, until one side is used up.
  package mutating func handle(_ summaries: [CellSummary], now: Duration) -> [Transfer] {
    let fresh = summaries.filter { now - $0.at <= policy.freshness }
    gave = gave.filter { now - $0.value < policy.rest }
    took = took.filter { now - $0.value < policy.rest }
    let givers = fresh.filter { $0.waiting > $0.freeSlots && $0.oldest > policy.patience && took[$0.cell] == nil }
      .sorted { ($0.oldest, $1.cell) > ($1.oldest, $0.cell) }
    var takers = fresh.filter { $0.freeSlots > $0.waiting && gave[$0.cell] == nil }
    var transfers: [Transfer] = []
    for giver in givers {
      // Half of what its own slots won't take: they go on meanwhile.
      var left = (giver.waiting - giver.freeSlots + 1) / 2
      takers.sort { ($0.freeSlots - $0.waiting, $1.cell) > ($1.freeSlots - $1.waiting, $0.cell) }
      for index in takers.indices where takers[index].cell != giver.cell && left > 0 {
        let tasks = min(left, takers[index].freeSlots - takers[index].waiting, policy.transferTasks)
        guard tasks > 0 else { continue }
        transfers.append(Transfer(from: giver.cell, to: takers[index].cell, tasks: tasks))
        takers[index].freeSlots -= tasks
        left -= tasks
        gave[giver.cell] = now
        took[takers[index].cell] = now
      }
    }
    return transfers
  }
}
