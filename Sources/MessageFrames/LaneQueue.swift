/// First come, first served within a lane; lanes take turns by their weights, so that none waits for ever.
///
/// Stride scheduling: each lane stands somewhere on a way, the one furthest behind comes next and moves on by the inverse
/// of its weight. A lane that was empty joins where the others are: it is next if it is the more urgent one, but has saved
/// up nothing.
package struct LaneQueue<Element> {
  fileprivate struct Lane {
    var elements: [Element?] = []
    var head = 0
    var position: UInt64 = 0

    var count: Int { elements.count - head }
  }

  /// The least common multiple of the weights is 64: steps are whole numbers.
  private static var way: UInt64 { 64 }

  private var lanes: [Lane] = MessageLane.allCases.map { _ in Lane() }
  private var position: UInt64 = 0
  /// How many elements wait.
  package private(set) var count = 0

  /// An empty queue.
  package init() {}

  /// Whether nothing waits.
  package var isEmpty: Bool { count == 0 }

  /// How many wait in a lane.
  package func count(of lane: MessageLane) -> Int { lanes[Int(lane.rawValue)].count }

  /// The lane of the next element; nil: nothing waits.
  package var next: MessageLane? {
    MessageLane.allCases.filter { lanes[Int($0.rawValue)].count > 0 }
      .min { lanes[Int($0.rawValue)].position < lanes[Int($1.rawValue)].position }
  }

  /// The next element, which stays.
  package var first: Element? {
    guard let next else { return nil }
    let lane = lanes[Int(next.rawValue)]
    return lane.elements[lane.head]
  }

  /// The oldest element of a lane, which stays.
  package func first(of lane: MessageLane) -> Element? {
    let state = lanes[Int(lane.rawValue)]
    return state.count > 0 ? state.elements[state.head] : nil
  }

  /// Adds an element.
  package mutating func append(_ element: Element, lane: MessageLane) {
    let index = Int(lane.rawValue)
    if lanes[index].count == 0 { lanes[index].position = max(lanes[index].position, position) }
    lanes[index].elements.append(element)
    count += 1
  }

  /// Takes the next element.
  package mutating func popFirst() -> (element: Element, lane: MessageLane)? {
    guard let lane = next else { return nil }
    let index = Int(lane.rawValue)
    position = lanes[index].position
    lanes[index].position += Self.way / lane.weight
    guard let element = pop(index) else { return nil }
    return (element, lane)
  }

  /// Takes the oldest element of a lane, out of turn.
  package mutating func popFirst(of lane: MessageLane) -> Element? {
    lanes[Int(lane.rawValue)].count > 0 ? pop(Int(lane.rawValue)) : nil
  }

  /// Removes the elements that `isRemoved` says; the others keep their order and their lanes' turns.
  package mutating func removeAll(where isRemoved: (Element) -> Bool) {
    for index in lanes.indices {
      lanes[index].elements = lanes[index].elements[lanes[index].head...].filter { $0.map { !isRemoved($0) } ?? false }
      lanes[index].head = 0
    }
    count = lanes.reduce(0) { $0 + $1.count }
  }

  private mutating func pop(_ index: Int) -> Element? {
    let element = lanes[index].elements[lanes[index].head].take()
    lanes[index].head += 1
    count -= 1
    // The taken front goes once it is half of the array: constant cost an element, and at most twice the memory.
    if lanes[index].head * 2 >= lanes[index].elements.count {
      lanes[index].elements.removeFirst(lanes[index].head)
      lanes[index].head = 0
    }
    return element
  }
}

extension LaneQueue: Sendable where Element: Sendable {}
extension LaneQueue.Lane: Sendable where Element: Sendable {}
