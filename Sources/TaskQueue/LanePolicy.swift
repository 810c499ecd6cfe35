/// How lanes share the workers.
package struct LanePolicy: Hashable, Sendable {
  /// Turns that high, normal and bulk get while all of them have tasks: 16, 4 and 1 in 21.
  ///
  /// Bulk keeps 4 % of the slots in any overload, and high is before normal in four turns of five.
  package var weights = LaneCounts(critical: 0, high: 16, normal: 4, bulk: 1)
  /// The percentage of claims for which critical tasks come before all others; what goes beyond shares the turns of high.
  ///
  /// Whoever calls everything critical gets what high would have got, and no other lane loses its part.
  package var criticalPercent = 10
  /// Claims in a row for which critical may come first after it had used less than its share.
  package var criticalBurst = 16
  /// How old a lane's oldest waiting task may be before new tasks of that lane are turned away; a lane without one is never shed.
  package var deadlines: [TaskLane: Duration] = [.bulk: .seconds(3_600)]
  /// The longest time after which a client that was turned away is told to come again.
  package var longestRetryAfter = Duration.seconds(300)

  /// The policy that holds where nothing else is said.
  package init() {}

  /// When a client that was turned away may come again, by the age of the lane's oldest task; nil: the lane takes tasks.
  package func retryAfter(_ lane: TaskLane, oldest age: Duration) -> Duration? {
    guard let deadline = deadlines[lane], age > deadline else { return nil }
    return min(max(age - deadline, .seconds(1)), max(longestRetryAfter, .seconds(1)))
  }

  /// The weight of a lane that takes turns, 1 at least.
  func weight(_ lane: TaskLane) -> UInt64 { UInt64(max(1, weights[lane])) }
}

/// A number for each lane.
package struct LaneCounts: Hashable, Sendable {
  /// Of critical.
  package var critical: Int
  /// Of high.
  package var high: Int
  /// Of normal.
  package var normal: Int
  /// Of bulk.
  package var bulk: Int

  /// Puts four numbers together.
  package init(critical: Int, high: Int, normal: Int, bulk: Int) {
    self.critical = critical
    self.high = high
    self.normal = normal
    self.bulk = bulk
  }

  /// The same number for each lane.
  package init(all number: Int) { self.init(critical: number, high: number, normal: number, bulk: number) }

  /// The number of a lane.
  package subscript(lane: TaskLane) -> Int {
    get {
      switch lane {
      case .critical: critical
      case .high: high
      case .normal: normal
      case .bulk: bulk
      }
    }
    set {
      switch lane {
      case .critical: critical = newValue
      case .high: high = newValue
      case .normal: normal = newValue
      case .bulk: bulk = newValue
      }
    }
  }

  /// The sum.
  package var total: Int { critical + high + normal + bulk }
}
