/// What is to happen, in the order of time and then of scheduling.
struct EventQueue {
  private struct Entry {
    var at: Duration
    var number: UInt64
    var event: World.Event

    func precedes(_ other: Entry) -> Bool { (at, number) < (other.at, other.number) }
  }

  private var heap: [Entry] = []
  private var last: UInt64 = 0

  /// When the next event is due.
  var first: Duration? { heap.first?.at }

  mutating func push(_ event: World.Event, at moment: Duration) {
    last += 1
    heap.append(Entry(at: moment, number: last, event: event))
    var child = heap.count - 1
    while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  mutating func pop() -> World.Event? {
    guard let top = heap.first else { return nil }
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].precedes(heap[least]) {
        least = child
      }
      guard least != parent else { break }
      heap.swapAt(parent, least)
      parent = least
    }
    return top.event
  }
}
