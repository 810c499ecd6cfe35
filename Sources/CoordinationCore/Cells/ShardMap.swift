/// Which cell claims from which shard of the queue.
///
/// A task's shard follows from its key and never changes, so that a submission that is said again after cells have split still finds the task of
/// then; what moves with the cells is who claims from a shard. As few shards move as keep each cell's part near its size.
package struct ShardMap: Hashable, Sendable {
  /// The cell of each shard; nil: nobody's yet.
  package private(set) var owners: [Int?]

  /// Goes on from a map that was written down.
  package init(owners: [Int?]) { self.owners = owners }

  /// Takes note of the cells as they are, with their agents.
  package mutating func update(cells: [Int: Int]) {
    let parts = Self.parts(owners.count, cells: cells)
    var left = parts
    var free: [Int] = []
    for (index, owner) in owners.enumerated() {
      if let owner, let room = left[owner], room > 0 {
        left[owner] = room - 1
      } else {
        free.append(index)
      }
    }
    var next = free[...]
    for cell in left.keys.sorted() {
      for _ in 0..<(left[cell] ?? 0) {
        guard let index = next.popFirst() else { return }
        owners[index] = cell
      }
    }
    // Without cells a shard is nobody's.
    for index in next { owners[index] = nil }
  }

  /// Each cell's part of the shards: by its agents, one at least as long as there are enough.
  static func parts(_ count: Int, cells: [Int: Int]) -> [Int: Int] {
    let numbers = cells.keys.sorted()
    guard !numbers.isEmpty else { return [:] }
    let floor = numbers.count <= count ? 1 : 0
    let parts = split(count - floor * numbers.count, by: numbers.map { cells[$0] ?? 0 })
    return Dictionary(uniqueKeysWithValues: zip(numbers, parts.map { $0 + floor }))
  }

  /// Splits a whole by weights, the largest remainders rounded up; evenly when all are zero.
  static func split(_ whole: Int, by weights: [Int]) -> [Int] {
    guard !weights.isEmpty else { return [] }
    let sum = weights.reduce(0, +)
    let weights = sum > 0 ? weights : [Int](repeating: 1, count: weights.count)
    let total = max(sum, sum > 0 ? 1 : weights.count)
    var parts: [Int] = []
    var remainders: [(remainder: Int, index: Int)] = []
    for (index, weight) in weights.enumerated() {
      let (high, low) = whole.multipliedFullWidth(by: weight)
      let (quotient, remainder) = total.dividingFullWidth((high, low))
      parts.append(quotient)
      remainders.append((remainder, index))
    }
    let rest = whole - parts.reduce(0, +)
    for entry in remainders.sorted(by: { ($0.remainder, $1.index) > ($1.remainder, $0.index) }).prefix(rest) {
      parts[entry.index] += 1
    }
    return parts
  }
}
