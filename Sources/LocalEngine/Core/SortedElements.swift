/// A set in the order of its elements, in pieces of up to 512, so that a change of a large one moves few of them.
struct SortedElements<Element: Comparable & Sendable>: Sendable {
  private static var pieceCount: Int { 512 }
  /// None is empty.
  private var pieces: [[Element]] = []

  /// Adds an element; nothing happens when it is there.
  mutating func insert(_ element: Element) {
    guard !pieces.isEmpty else {
      pieces = [[element]]
      return
    }
    let index = piece(of: element)
    let place = Self.place(of: element, in: pieces[index])
    if place < pieces[index].count, pieces[index][place] == element { return }
    pieces[index].insert(element, at: place)
    if pieces[index].count > Self.pieceCount {
      let half = pieces[index].count / 2
      pieces.insert(Array(pieces[index][half...]), at: index + 1)
      pieces[index].removeSubrange(half...)
    }
  }

  /// Removes an element; nothing happens when it isn't there.
  mutating func remove(_ element: Element) {
    guard !pieces.isEmpty else { return }
    let index = piece(of: element)
    let place = Self.place(of: element, in: pieces[index])
    guard place < pieces[index].count, pieces[index][place] == element else { return }
    pieces[index].remove(at: place)
    if pieces[index].isEmpty { pieces.remove(at: index) }
  }

  /// Gives the elements from `start` on (nil: from the first), in order, as long as `body` says true.
  func forEach(from start: Element?, _ body: (Element) -> Bool) {
    guard !pieces.isEmpty else { return }
    let first = start.map { piece(of: $0) } ?? 0
    for index in first..<pieces.count {
      let begin = index == first ? start.map { Self.place(of: $0, in: pieces[index]) } ?? 0 : 0
      for element in pieces[index][begin...] where !body(element) { return }
    }
  }

  /// The last piece that begins at or before the element, else the first.
  private func piece(of element: Element) -> Int {
    var (low, high) = (0, pieces.count)
    while low < high {
      let middle = (low + high) / 2
      if pieces[middle][0] <= element { low = middle + 1 } else { high = middle }
    }
    return max(low - 1, 0)
  }

  /// Where the element is, or would be.
  private static func place(of element: Element, in piece: [Element]) -> Int {
    var (low, high) = (0, piece.count)
    while low < high {
      let middle = (low + high) / 2
      if piece[middle] < element { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
