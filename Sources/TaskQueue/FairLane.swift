import PriorityQueue

/// The claimable tasks of one lane: fair between the fairness keys, the oldest first within each.
///
/// Each key pays for what it gets by the tasks' cost, and the key comes next whose next task is paid first: deficit round robin without rounds
/// (self-clocked fair queueing), so that a key whose tasks are dear doesn't make the others wait for a whole quantum. A key that comes
/// anew begins where the one stands that was served last: neither does it make up for lost time, nor do ever new keys keep an old one waiting.
package struct FairLane: Sendable {
  /// A waiting task.
  package struct Waiting: Comparable, Sendable {
    package var number: UInt64
    package var cost: UInt64
    package var submitted: Duration

    /// A task by its number, at what it costs.
    package init(number: UInt64, cost: UInt64, submitted: Duration) {
      self.number = number
      self.cost = cost
      self.submitted = submitted
    }

    package static func < (lhs: Waiting, rhs: Waiting) -> Bool { lhs.number < rhs.number }
    package static func == (lhs: Waiting, rhs: Waiting) -> Bool { lhs.number == rhs.number }
  }

  private struct Key: Sendable {
    var name: String
    var waiting = BinaryHeap<Waiting>()
  }

  private struct Turn: Comparable, Sendable {
    /// What the key will have paid when it has had this turn.
    var paid: UInt64
    /// Of equals, who came first: it makes them take turns.
    var sequence: UInt64
    var slot: Int

    static func < (lhs: Turn, rhs: Turn) -> Bool { (lhs.paid, lhs.sequence) < (rhs.paid, rhs.sequence) }
  }

  /// Where the keys stand that have tasks; without tasks nothing is left of a key.
  private var slots: [String: Int] = [:]
  private var keys: [Key] = []
  private var free: [Int] = []
  private var turns = BinaryHeap<Turn>()
  /// What the key has paid that was served last.
  private var paid: UInt64 = 0
  private var sequence: UInt64 = 0
  /// Tasks that are taken back behind others of their key: they are skipped when their turn comes. None is the first of its key.
  private var withdrawn: Set<UInt64> = []

  /// How many tasks wait.
  package private(set) var count = 0

  /// None wait.
  package init() {}

  /// The task whose turn it is.
  var first: Waiting? { turns.first.flatMap { keys[$0.slot].waiting.first } }

  /// The oldest task. Looks at each key.
  var oldest: Waiting? { turns.unordered.compactMap { keys[$0.slot].waiting.first }.min() }

  /// How many keys have tasks.
  var keyCount: Int { slots.count }

  /// Lets a task of a fairness key wait. One that was taken back comes with the key and cost that it had.
  package mutating func push(_ task: Waiting, key name: String) {
    count += 1
    // Its place is still there.
    if withdrawn.remove(task.number) != nil { return }
    if let slot = slots[name] {
      keys[slot].waiting.push(task)
      return
    }
    let slot = free.popLast() ?? keys.count
    if slot == keys.count { keys.append(Key(name: name)) } else { keys[slot].name = name }
    slots[name] = slot
    keys[slot].waiting.push(task)
    enqueue(slot, after: paid)
  }

  /// Takes the task whose turn it is.
  package mutating func pop() -> Waiting? {
    guard let turn = turns.pop(), let task = keys[turn.slot].waiting.first else { return nil }
    keys[turn.slot].waiting.pop()
    skipWithdrawn(turn.slot)
    count -= 1
    paid = turn.paid
    if keys[turn.slot].waiting.count > 0 { enqueue(turn.slot, after: turn.paid) }
    end(turn.slot)
    return task
  }

  /// Takes back a task that waits under this key, whoever's turn it is; a key that has no other loses its turn.
  package mutating func withdraw(_ number: UInt64, key name: String) {
    guard let slot = slots[name] else { return }
    count -= 1
    withdrawn.insert(number)
    skipWithdrawn(slot)
    guard keys[slot].waiting.count == 0 else { return }
    turns.keep { $0.slot != slot }
    end(slot)
  }

  private mutating func skipWithdrawn(_ slot: Int) {
    while !withdrawn.isEmpty, let first = keys[slot].waiting.first, withdrawn.remove(first.number) != nil {
      keys[slot].waiting.pop()
    }
  }

  /// Forgets a key that has no tasks left.
  private mutating func end(_ slot: Int) {
    if keys[slot].waiting.count == 0 {
      slots[keys[slot].name] = nil
      free.append(slot)
    }
    if count == 0, keys.count > 64 { self = FairLane() }
  }

  private mutating func enqueue(_ slot: Int, after paid: UInt64) {
    sequence += 1
    turns.push(Turn(paid: paid + (keys[slot].waiting.first?.cost ?? 1), sequence: sequence, slot: slot))
  }
}
