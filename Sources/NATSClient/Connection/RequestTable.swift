package import NIOCore

/// Requests that wait for an answer, with their deadlines. No I/O.
package struct RequestTable<Waiter: Sendable>: Sendable {
  private var waiters: [UInt64: Waiter] = [:]
  /// A heap by deadline; answered requests stay in it until they come up or it is cleaned.
  private var heap: [(deadline: NIODeadline, id: UInt64)] = []
  private var nextID: UInt64 = 1

  package init() {}

  package var count: Int { waiters.count }

  /// An id that no request had before.
  package mutating func makeID() -> UInt64 {
    defer { nextID += 1 }
    return nextID
  }

  package mutating func insert(_ id: UInt64, _ waiter: Waiter, deadline: NIODeadline) {
    waiters[id] = waiter
    if heap.count > 64 && heap.count > 4 * waiters.count { clean() }
    heap.append((deadline, id))
    siftUp(heap.count - 1)
  }

  package mutating func take(_ id: UInt64) -> Waiter? { waiters.removeValue(forKey: id) }

  /// When the first one may be due: never late, perhaps early.
  package var nextDeadline: NIODeadline? { heap.first?.deadline }

  /// Those whose time is up.
  package mutating func expire(now: NIODeadline) -> [Waiter] {
    var expired: [Waiter] = []
    while let first = heap.first, first.deadline <= now || waiters[first.id] == nil {
      removeFirst()
      if let waiter = waiters.removeValue(forKey: first.id) { expired.append(waiter) }
    }
    return expired
  }

  /// All, in the order of their making.
  package mutating func takeAll() -> [Waiter] {
    let all = waiters.sorted { $0.key < $1.key }.map(\.value)
    waiters = [:]
    heap = []
    return all
  }

  private mutating func clean() {
    heap = heap.filter { waiters[$0.id] != nil }.sorted { $0.deadline < $1.deadline }
  }

  private mutating func siftUp(_ start: Int) {
    var at = start
    while at > 0, heap[(at - 1) / 2].deadline > heap[at].deadline {
      heap.swapAt(at, (at - 1) / 2)
      at = (at - 1) / 2
    }
  }

  private mutating func removeFirst() {
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var at = 0
    while true {
      var least = at
      for child in [2 * at + 1, 2 * at + 2]
      where child < heap.count && heap[child].deadline < heap[least].deadline {
        least = child
      }
      if least == at { return }
      heap.swapAt(at, least)
      at = least
    }
  }
}
