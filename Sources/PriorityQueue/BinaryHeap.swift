/// A priority queue: the smallest element first.
///
/// Inlinable, so that the targets that use it specialise it for their elements.
package struct BinaryHeap<Element: Comparable & Sendable>: Sendable {
  @usableFromInline var elements: [Element] = []

  /// Makes an empty queue.
  @inlinable package init() {}

  /// How many elements there are.
  @inlinable package var count: Int { elements.count }

  /// The smallest element.
  @inlinable package var first: Element? { elements.first }

  /// All of them, in no order.
  @inlinable package var unordered: [Element] { elements }

  /// Adds an element.
  @inlinable package mutating func push(_ element: Element) {
    elements.append(element)
    siftUp(from: elements.count - 1)
  }

  /// Removes the smallest element.
  @discardableResult
  @inlinable package mutating func pop() -> Element? {
    guard let last = elements.popLast() else { return nil }
    guard let smallest = elements.first else { return last }
    elements[0] = last
    siftDown(from: 0)
    return smallest
  }

  /// Replaces the smallest element.
  @inlinable package mutating func replaceFirst(with element: Element) {
    elements[0] = element
    siftDown(from: 0)
  }

  /// Keeps only the elements for which `isKept` holds.
  @inlinable package mutating func keep(where isKept: (Element) -> Bool) {
    elements.removeAll { !isKept($0) }
    for index in stride(from: elements.count / 2 - 1, through: 0, by: -1) { siftDown(from: index) }
  }

  @inlinable mutating func siftUp(from start: Int) {
    var child = start
    while child > 0 {
      let parent = (child - 1) / 2
      guard elements[child] < elements[parent] else { return }
      elements.swapAt(child, parent)
      child = parent
    }
  }

  @inlinable mutating func siftDown(from start: Int) {
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
