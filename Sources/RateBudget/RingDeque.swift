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
