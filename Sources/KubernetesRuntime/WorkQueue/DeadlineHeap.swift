import KubernetesCore

/// A binary heap of keys by deadline; equal deadlines come out in the order in which they were put in.
struct DeadlineHeap<Key: Sendable>: Sendable {
  /// A key with its deadline.
  struct Item: Sendable {
    var deadline: MonotonicTime
    var sequence: UInt64
    var key: Key

    fileprivate func precedes(_ other: Item) -> Bool {
      (deadline, sequence) < (other.deadline, other.sequence)
    }
  }

  /// The items in heap order.
  private(set) var items: [Item] = []
  private var nextSequence: UInt64 = 0

  /// The number of items, overridden ones included.
  var count: Int { items.count }

  /// The earliest item.
  var top: Item? { items.first }

  /// The earliest deadline.
  var first: MonotonicTime? { items.first?.deadline }

  /// Puts a key in.
  mutating func push(_ deadline: MonotonicTime, _ key: Key) {
    items.append(Item(deadline: deadline, sequence: nextSequence, key: key))
    nextSequence += 1
    var child = items.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard items[child].precedes(items[parent]) else { return }
      items.swapAt(child, parent)
      child = parent
    }
  }

  /// Takes the earliest item out if its deadline has come.
  mutating func popFirst(notLaterThan now: MonotonicTime) -> Item? {
    guard let top, top.deadline <= now else { return nil }
    removeTop()
    return top
  }

  /// Takes the earliest item out.
  mutating func removeTop() {
    guard let last = items.popLast() else { return }
    guard !items.isEmpty else { return }
    items[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < items.count && items[child].precedes(items[least]) {
        least = child
      }
      if least == parent { return }
      items.swapAt(parent, least)
      parent = least
    }
  }
}

/// A first-in-first-out queue over an array, with amortised constant cost at both ends.
struct FIFO<Element: Equatable & Sendable>: Sendable {
  private var storage: [Element?] = []
  private var head = 0
  /// The number of elements.
  private(set) var count = 0

  /// The element that comes out next.
  var first: Element? { storage.indices.contains(head) ? storage[head] : nil }

  /// Puts an element at the end.
  mutating func append(_ element: Element) {
    storage.append(element)
    count += 1
  }

  /// Takes the first element out.
  mutating func popFirst() -> Element? {
    while head < storage.count {
      let element = storage[head]
      storage[head] = nil
      head += 1
      skipHoles()
      if let element {
        count -= 1
        return element
      }
    }
    return nil
  }

  /// Takes out the element equal to `element`, wherever it stands; linear in the queue's length.
  mutating func remove(_ element: Element) {
    guard let index = storage[head...].firstIndex(where: { $0 == element }) else { return }
    storage[index] = nil
    count -= 1
    skipHoles()
  }

  private mutating func skipHoles() {
    while head < storage.count, storage[head] == nil { head += 1 }
    if head > 64, head * 2 > storage.count {
      storage.removeFirst(head)
      head = 0
    }
  }
}
