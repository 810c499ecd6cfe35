import PriorityQueue

/// The budget of one limit group: who may send what, and when.
///
/// A pure state machine. Requests go in by `submit`; `advance` says which may be sent, and `nextDeadline` when it is
/// worth asking again; `settle`, `release`, `fail` and `reject` say what became of the grants; `observe` takes in the
/// headers of responses. The same calls with the same times give the same answers. The rules are in
/// docs/rate-budget.md.
package struct GroupBudget: Sendable {
  /// A granted request that isn't settled yet.
  struct Lease: Sendable {
    var request: GrantRequest
    var fleet: Int
    var attempt: Int
    var submitted: BudgetTime
    var granted: BudgetTime
    var expires: BudgetTime
    /// What was charged so far, in whole units.
    var charged: PerDimension<Int64>
    var streamClass: Int?
    /// The money reserved, in millionths of a micro-dollar.
    var reserved: Int64
    var prices: ModelPrices?
    /// Whether the request side was charged here (an adopted grant was charged elsewhere).
    var isAdopted = false
  }

  struct Pause: Sendable {
    var until: BudgetTime?
    var refusal: Refusal?
    var probe: GrantID?
  }

  /// A 429 whose cause is looked at again when the requests that were in flight have told their true input.
  struct Suspicion: Sendable {
    var dimension: Dimension
    var cost: Int64
    var at: BudgetTime
  }

  struct LeaseEnd: Comparable, Sendable {
    var at: BudgetTime
    var id: GrantID

    static func < (left: LeaseEnd, right: LeaseEnd) -> Bool {
      left.at != right.at ? left.at < right.at : left.id < right.id
    }
  }

  struct FleetBooks: Sendable {
    var logs = [ChargeLog](repeating: ChargeLog(), count: Dimension.allCases.count)
    /// The offered load at the last samples, for the part of it that has lasted.
    var offered: [PerDimension<Int64>] = []
  }

  /// How the budget is run.
  package internal(set) var configuration: BudgetConfiguration
  var lanes: [Lane]
  var queue: GrantQueue
  var leases: [GrantID: Lease] = [:]
  var leaseEnds = BinaryHeap<LeaseEnd>()
  var emission = EmissionModel()
  var target = TargetControl()
  var clock = ClockOffset()
  var spend = SpendMeter()
  var newestDate: WallTime?
  var wallOffset: Int64 = 0
  var pause: Pause?
  /// The 429 that has lowered the target, until it is judged again.
  var suspicion: Suspicion?
  var learningUntil: BudgetTime?
  /// What one client may use on its own, when this budget runs without a coordinator.
  var share: PerDimension<Int64>?
  var connections: [String: Connection] = [:]
  var fleetBooks: [FleetBooks] = []
  var waits = WaitHistogram()
  var grants = ChargeLog()
  var rejections = [ChargeLog](repeating: ChargeLog(), count: RejectionKind.allCases.count)
  var priceCache: [String: ModelPrices?] = [:]
  var binding = Dimension.requests
  /// How much of the reserve is kept for the most urgent class now, in parts per million.
  var reserved: Int64 = 0
  var lastRoll: BudgetTime?
  var lastSample: BudgetTime?
  var wakeAt: BudgetTime?

  /// Makes a budget. A standalone one starts with full buckets; the coordinator's starts learning: `startLearning`.
  package init(configuration: BudgetConfiguration, now: BudgetTime) {
    self.configuration = configuration
    queue = GrantQueue(ageing: configuration.ageing)
    lanes = Dimension.allCases.map { dimension in
      let known = configuration.limits[dimension]
      let limit = known ?? configuration.assumedLimits[dimension]
      return Lane(
        dimension, limit: limit.map(Self.micro), source: known == nil ? .assumed : .configuration,
        burst: configuration.burst, isFull: true, now: now)
    }
    roll(to: now)
  }

  static func micro(_ units: Int64) -> Int64 {
    units.clamped(to: 0...1_000_000_000_000) * TokenBucket.unit
  }

  /// Follows a changed configuration. The same one changes nothing, and no sequence of changes makes tokens: limits
  /// scale the balance. A limit that headers have told stands until a header tells another.
  package mutating func configure(_ new: BudgetConfiguration, now: BudgetTime) {
    guard new != configuration else { return }
    let old = configuration
    configuration = new
    priceCache = [:]
    for index in lanes.indices {
      let dimension = lanes[index].dimension
      let isChanged = old.limits[dimension] != new.limits[dimension]
      guard lanes[index].source != .headers || (isChanged && dimension == .inputTokensTotal) else { continue }
      let known = new.limits[dimension]
      lanes[index].follow(
        limit: (known ?? new.assumedLimits[dimension]).map(Self.micro),
        source: known == nil ? .assumed : .configuration, burst: new.burst, now: now)
    }
    for index in queue.fleets.indices {
      queue.setWeight(new.share(of: queue.fleets[index].name).weight, fleet: index)
    }
    steer(now: now)
    wakeAt = now
  }

  /// Tells the time of day: the UTC day of the spend ceiling begins by it. Without it the day begins at the origin.
  package mutating func setWallClock(_ wall: WallTime, now: BudgetTime) {
    wallOffset = wall.milliseconds - now.nanoseconds / 1_000_000
  }

  func wall(at now: BudgetTime) -> WallTime {
    WallTime(milliseconds: now.nanoseconds / 1_000_000 + wallOffset)
  }

  // MARK: Once a second

  /// Brings rates, ramps and samples up to date; does nothing within a second of the last time.
  mutating func roll(to now: BudgetTime) {
    if let lastRoll, now.nanoseconds(since: lastRoll) < secondNanoseconds { return }
    let passed = lastRoll.map { now.nanoseconds(since: $0) } ?? 0
    lastRoll = now
    judgeAgain(now: now)
    for index in lanes.indices {
      lanes[index].used = lanes[index].log.sum(now: now)
      guard let limit = lanes[index].limit, let ramp = configuration.ramp, lanes[index].dimension != .requests else {
        continue
      }
      lanes[index].ramp.roll(used: lanes[index].used, limit: limit, policy: ramp, now: now)
    }
    steer(now: now)
    var fullest: Int64 = -1
    for lane in lanes {
      guard let limit = lane.limit, limit > 0 else { continue }
      let goal = limit.scaled(by: configuration.target(of: lane.dimension), over: million)
      // The last ten seconds count as well: a budget that has just begun knows no whole minute.
      let recent = lane.log.sum(over: .seconds(10), now: now)
      let fill = max(lane.used, recent.addingSaturated(recent * 5)).scaled(by: million, over: max(goal, 1))
      guard fill > fullest else { continue }
      fullest = fill
      binding = lane.dimension
    }
    // Below 80 % of the target anybody borrows the reserve; it is kept in whole from 90 % on. Not at once: to set aside
    // (or free) two seconds' worth within one second would be a pause (or a burst) of two seconds.
    let fading = passed.scaled(by: million, over: minuteNanoseconds)
    reserved = max(reserved - fading, ((fullest - 800_000) * 10).clamped(to: 0...million))
    sample(now: now)
  }

  /// Sets the inflow and depth of each bucket.
  mutating func steer(now: BudgetTime) {
    let lost = lostShares(at: now)
    let learned = learningRates(at: now)
    for index in lanes.indices {
      let lane = lanes[index]
      guard let limit = lane.limit else { continue }
      let whole = limit.scaled(by: configuration.target(of: lane.dimension), over: million)
      let factor = target.factor(at: now)
      if let share {
        // What others use and what is lost was taken off when the share was made; seen from one pod all other pods
        // would look like others.
        let rate = min(whole, share[lane.dimension]).scaled(by: factor, over: million)
        let depth = rate.scaled(by: configuration.burst.wholeNanoseconds, over: minuteNanoseconds)
        lanes[index].steer(rate: rate, depth: depth, now: now)
        continue
      }
      var rate = whole.scaled(by: factor, over: million)
      rate = rate.subtractingSaturated(lane.gauge.foreign(limit: limit))
      rate = rate.subtractingSaturated(lost[lane.dimension])
      if configuration.ramp != nil, lane.dimension != .requests { rate = min(rate, lane.ramp.ceiling) }
      // Never a standstill: what others use may be a mistake of the measurement.
      rate = max(rate, limit / 100)
      if let learned { rate = min(rate, max(learned[lane.dimension], limit / 20)) }
      var depth = limit.scaled(by: configuration.burst.wholeNanoseconds, over: minuteNanoseconds)
      depth = depth.scaled(by: target.burstFactor(at: now), over: million)
      if let shape = lane.gauge.depth { depth = min(depth, shape) }
      lanes[index].steer(rate: rate, depth: depth, now: now)
    }
  }

  // MARK: When to look again

  /// When `advance` has something to do next if nothing else happens; nil: never.
  package mutating func nextDeadline(now: BudgetTime) -> BudgetTime? {
    var next = leaseEnds.first?.at
    if queue.count > 0 {
      for candidate in [queue.nextEvent(), wakeAt, lastRoll.map { $0 + .seconds(1) }] {
        guard let candidate else { continue }
        next = min(next ?? candidate, candidate)
      }
    }
    return next.map { max($0, now) }
  }

  /// How many requests wait.
  package var waitingCount: Int { queue.count }

  /// How many grants aren't settled yet.
  package var outstandingCount: Int { leases.count }

  /// The level of a dimension's bucket, in micro-units; nil: not limited.
  package func level(of dimension: Dimension, at now: BudgetTime) -> Int64? {
    let lane = lanes[dimension.rawValue]
    return lane.limit == nil ? nil : lane.level(at: now)
  }

  /// Everything charged to a dimension so far, in whole units: corrected by settlements, not only grown.
  package func totalCharged(_ dimension: Dimension) -> Int64 {
    lanes[dimension.rawValue].log.total / TokenBucket.unit
  }
}
