/// A priority queue: the smallest element first.
struct BinaryHeap<Element: Comparable & Sendable>: Sendable {
  private var elements: [Element] = []

  /// How many elements there are.
  var count: Int { elements.count }

  /// The smallest element.
  var first: Element? { elements.first }

  /// Adds an element.
  mutating func push(_ element: Element) {
    elements.append(element)
    siftUp(from: elements.count - 1)
  }

  /// Removes the smallest element.
  @discardableResult
  mutating func pop() -> Element? {
    guard let last = elements.popLast() else { return nil }
    guard let smallest = elements.first else { return last }
    elements[0] = last
    siftDown(from: 0)
    return smallest
  }

  /// Replaces the smallest element.
  mutating func replaceFirst(with element: Element) {
    elements[0] = element
    siftDown(from: 0)
  }

  /// Keeps only the elements for which `isKept` holds.
  mutating func keep(where isKept: (Element) -> Bool) {
    elements.removeAll { !isKept($0) }
    for index in stride(from: elements.count / 2 - 1, through: 0, by: -1) { siftDown(from: index) }
  }

  private mutating func siftUp(from start: Int) {
    var child = start
    while child > 0 {
      let parent = (child - 1) / 2
      guard elements[child] < elements[parent] else { return }
      elements.swapAt(child, parent)
      child = parent
    }
  }

  private mutating func siftDown(from start: Int) {
    var parent = start
    while true {
      var smallest = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < elements.count {
        if elements[child] < elements[smallest] { smallest = child }
      }
      guard smallest != parent else { return }
      elements.swapAt(parent, smallest)
      parent = smallest
    }
  }
}

/// Something that is due at a time; equal times keep the order of their making.
struct Timed: Comparable, Sendable {
  /// When it is due.
  var at: BudgetTime
  /// The order among equal times.
  var order: UInt64
  /// What is due.
  var ticket: GrantQueue.Ticket

  /// Whether one is due before another.
  static func < (left: Timed, right: Timed) -> Bool {
    left.at != right.at ? left.at < right.at : left.order < right.order
  }
}

/// A queue with two ends on a circular buffer.
struct RingDeque<Element: Sendable>: Sendable {
  private var storage: [Element?] = []
  private var start = 0
  /// How many elements there are.
  private(set) var count = 0

  /// Whether there is no element.
  var isEmpty: Bool { count == 0 }

  /// The element in front.
  var first: Element? { count == 0 ? nil : storage[start] }

  /// The element at a place; nil outside.
  subscript(place: Int) -> Element? {
    place < count ? storage[position(place)] : nil
  }

  private func position(_ place: Int) -> Int {
    let sum = start + place
    return sum < storage.count ? sum : sum - storage.count
  }

  private mutating func grow() {
    guard count == storage.count else { return }
    var larger: [Element?] = []
    larger.reserveCapacity(max(4, count * 2))
    for place in 0..<count { larger.append(storage[position(place)]) }
    while larger.count < max(4, count * 2) { larger.append(nil) }
    storage = larger
    start = 0
  }

  /// Adds an element behind.
  mutating func append(_ element: Element) {
    grow()
    storage[position(count)] = element
    count += 1
  }

  /// Adds an element in front.
  mutating func prepend(_ element: Element) {
    grow()
    start = start == 0 ? storage.count - 1 : start - 1
    storage[start] = element
    count += 1
  }

  /// Removes the element in front.
  @discardableResult
  mutating func popFirst() -> Element? {
    guard count > 0 else { return nil }
    let element = storage[start]
    storage[start] = nil
    start = position(1)
    count -= 1
    return element
  }

  /// Removes the element at a place near the front; takes time in proportion to the place.
  mutating func remove(at place: Int) {
    guard place < count else { return }
    var index = place
    while index > 0 {
      storage[position(index)] = storage[position(index - 1)]
      index -= 1
    }
    popFirst()
  }

  /// Keeps only the elements for which `isKept` holds.
  mutating func keep(where isKept: (Element) -> Bool) {
    var kept: [Element?] = []
    for place in 0..<count {
      if let element = storage[position(place)], isKept(element) { kept.append(element) }
    }
    storage = kept
    start = 0
    count = kept.count
  }
}
