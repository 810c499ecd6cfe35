/// What is due, ordered by time and then by the order of scheduling.
struct EventQueue: Sendable {
  /// What happens to a generation.
  enum Kind: Sendable {
    /// `message_start`.
    case begin
    /// The first token is being produced.
    case emit
    /// The last token has been produced, or a fault cuts the answer.
    case end
  }

  /// One event.
  struct Event: Sendable {
    var time: MockTime
    var sequence: Int
    var kind: Kind
    var generation: Int
  }

  private var heap: [Event] = []
  private var sequence = 0

  /// The time of the next event.
  var next: MockTime? { heap.first?.time }

  /// Adds an event.
  mutating func schedule(_ kind: Kind, generation: Int, at time: MockTime) {
    sequence += 1
    heap.append(Event(time: time, sequence: sequence, kind: kind, generation: generation))
    var child = heap.count - 1
    while child > 0, Self.precedes(heap[child], heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// Takes the next event if it's due at `now`.
  mutating func pop(dueAt now: MockTime) -> Event? {
    guard let first = heap.first, first.time <= now else { return nil }
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && Self.precedes(heap[child], heap[least])
      {
        least = child
      }
      guard least != parent else { return first }
      heap.swapAt(parent, least)
      parent = least
    }
  }

  private static func precedes(_ left: Event, _ right: Event) -> Bool {
    (left.time, left.sequence) < (right.time, right.sequence)
  }
}
