/// A point of a history.
protocol SeriesPoint: Hashable, Sendable {
  /// When it was observed, in seconds since the epoch.
  var at: UInt32 { get }
  /// Whether it says the same as `other`, the moment aside.
  func saysTheSame(as other: Self) -> Bool
  /// How much would be lost if it were left out: of two neighbours the greater one stays when a history is thinned.
  var weight: Int { get }
}

/// A history of at most so many points: when it is full, its older part is thinned, so that the span that it covers grows
/// and its size doesn't. All points are ones that were observed; none is a mean.
struct BoundedSeries<Point: SeriesPoint>: Sendable {
  /// How often a point is kept that says nothing new, so that "unchanged" and "nobody looked" can be told apart.
  static var repeatAfter: UInt32 { 60 }

  /// The points, oldest first.
  private(set) var points: [Point] = []

  /// Makes an empty history.
  init() {}

  /// Adds a point, if it says something new; `quota` (at least 2) is how many may be kept.
  mutating func append(_ point: Point, quota: Int) {
    if let last = points.last {
      // A clock that stepped back: what is later than now can't be drawn.
      if point.at < last.at { points.removeAll { $0.at > point.at } }
      if let last = points.last, point.saysTheSame(as: last), point.at - last.at < Self.repeatAfter { return }
      if let last = points.last, last.at == point.at { points.removeLast() }
    }
    if points.count >= quota { thin(to: min(quota * 3 / 4, quota - 1)) }
    // Doubling would take room for points that never come.
    if points.capacity == points.count { points.reserveCapacity(min(quota, points.count + max(points.count / 2, 8))) }
    points.append(point)
  }

  /// Keeps at most `count` points: of neighbours far from the present the lesser ones go.
  mutating func thin(to count: Int) {
    let target = max(count, 1)
    while points.count > target {
      // Only as many pairs as are needed, the oldest first: what happened just now stays as it was.
      let surplus = points.count - target
      var kept: [Point] = []
      kept.reserveCapacity(target + 1)
      kept.append(points[0])
      var index = 1
      var removed = 0
      while index < points.count {
        if removed < surplus, index + 1 < points.count - 1 {
          kept.append(points[index].weight > points[index + 1].weight ? points[index] : points[index + 1])
          removed += 1
          index += 2
        } else {
          kept.append(points[index])
          index += 1
        }
      }
      guard kept.count < points.count else {
        points = Array(points.suffix(target))
        return
      }
      points = kept
    }
  }

  /// How many bytes the points take.
  var byteCount: Int { points.capacity * MemoryLayout<Point>.stride + 32 }
}
