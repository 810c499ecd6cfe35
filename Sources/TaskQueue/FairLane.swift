import PriorityQueue

/// The claimable tasks of one lane: fair between the fairness keys, the oldest first within each.
///
/// Each key pays for what it gets by the tasks' cost, and the key comes next whose next task is paid first: deficit round robin without rounds
/// (self-clocked fair queueing), so that a key whose tasks are dear doesn't make the others wait for a whole quantum. A key that comes
/// anew begins where the one stands that was served last: neither does it make up for lost time, nor do ever new keys keep an old one waiting.
struct FairLane: Sendable {
  /// A waiting task.
  struct Waiting: Comparable, Sendable {
    var number: UInt64
    var cost: UInt64
    var submitted: Duration

    static func < (lhs: Waiting, rhs: Waiting) -> Bool { lhs.number < rhs.number }
    static func == (lhs: Waiting, rhs: Waiting) -> Bool { lhs.number == rhs.number }
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

  /// How many tasks wait.
  private(set) var count = 0

  /// The task whose turn it is.
  var first: Waiting? { turns.first.flatMap { keys[$0.slot].waiting.first } }

  /// The oldest task. Looks at each key.
  var oldest: Waiting? { turns.unordered.compactMap { keys[$0.slot].waiting.first }.min() }

  /// How many keys have tasks.
  var keyCount: Int { slots.count }

  mutating func push(_ task: Waiting, key name: String) {
    count += 1
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

  mutating func pop() -> Waiting? {
    guard let turn = turns.pop(), let task = keys[turn.slot].waiting.first else { return nil }
    keys[turn.slot].waiting.pop()
    count -= 1
    paid = turn.paid
    if keys[turn.slot].waiting.count > 0 {
      enqueue(turn.slot, after: turn.paid)
    } else {
      slots[keys[turn.slot].name] = nil
      free.append(turn.slot)
    }
    if count == 0, keys.count > 64 { self = FairLane() }
    return task
  }

  private mutating func enqueue(_ slot: Int, after paid: UInt64) {
    sequence += 1
    turns.push(Turn(paid: paid + (keys[slot].waiting.first?.cost ?? 1), sequence: sequence, slot: slot))
  }
}
