/// The Claude Messages API as a state machine: limits, cache, spend, pace and faults, without clock and without I/O.
///
/// Time is an argument and may only grow; the same calls give the same answers. A server drives it with a real clock, a
/// simulation with a virtual one. It shares no code with the product's own budget arithmetic, which is tested against it.
package struct MockClaudeEngine: Sendable {
  /// What was configured, with all changes made while running.
  package internal(set) var configuration: MockConfiguration
  /// The pools of the tier.
  package internal(set) var groups: [ModelGroup]
  /// The latest time that was told.
  package internal(set) var now: MockTime

  struct PoolKey: Hashable, Sendable {
    var organization: String
    var group: Int
  }

  struct WorkspaceBucket: Sendable {
    var workspace: String
    var dimension: Dimension
    var bucket: Int
  }

  struct Pool: Sendable {
    var key: PoolKey
    /// Indices of the organisation's buckets.
    var buckets: [Dimension: Int] = [:]
    var workspaceBuckets: [WorkspaceBucket] = []
    var series: ChargeSeries
    var ramp = RampTracker()
    var refused: [String: Int] = [:]
    var running = 0
    var peakRunning = 0
    /// Past snapshots, for stale headers.
    var snapshots: [RateSnapshot] = []
  }

  struct Running: Sendable {
    var generation: Generation
    var pool: Int
    /// What was debited of input, by bucket, and what is true.
    var inputDebits: [(bucket: Int, debited: Int, actual: Int)]
    var outputBuckets: [Int]
    var hasBegun = false
    var isEmitting = false
  }

  var buckets: [TokenBucket] = []
  var pools: [Pool] = []
  var poolIndex: [PoolKey: Int] = [:]
  var queue = EventQueue()
  var running: [Int: Running] = [:]
  var cache = PromptCache()
  var spend: SpendLedger
  var attempts = AttemptTracker()
  var faults: FaultPlan
  var charges: [Int: ChargeRecord] = [:]
  var nextNumber = 1
  /// Draws of lengths, of faults and of identifiers don't disturb each other.
  var lengths, faultDraws, identifiers: SeededGenerator
  /// Buckets of other endpoints, by organisation and name.
  var endpointBuckets: [String: Int] = [:]

  /// How many requests' charges are kept.
  static let keptCharges = 200_000

  /// A mock whose buckets are full at `start`.
  package init(configuration: MockConfiguration = MockConfiguration(), start: MockTime) {
    self.configuration = configuration
    groups = ModelGroup.published(for: configuration.tier)
    now = start
    spend = SpendLedger(alreadySpent: configuration.spend.alreadySpent, now: start)
    faults = FaultPlan(configuration.faults, start: start)
    lengths = SeededGenerator(seed: configuration.seed)
    faultDraws = SeededGenerator(seed: SeededGenerator.mix(configuration.seed &+ 1))
    identifiers = SeededGenerator(seed: SeededGenerator.mix(configuration.seed &+ 2))
  }

  /// The pool of a model; nil if the model is unknown.
  package func group(of model: String) -> ModelGroup? {
    groupIndex(of: model).map { groups[$0] }
  }

  func groupIndex(of model: String) -> Int? {
    groups.firstIndex { $0.contains(model) }
  }

  /// A new `request-id`.
  package mutating func newRequestID() -> String {
    "req_" + identifiers.base62(24)
  }

  // MARK: Pools

  mutating func pool(organization: String, group: Int) -> Int {
    let key = PoolKey(organization: organization, group: group)
    if let index = poolIndex[key] { return index }
    var pool = Pool(key: key, series: ChargeSeries(seconds: configuration.oracleSeconds, start: now))
    for dimension in Dimension.allCases where dimension != .inputTokensTotal {
      guard let limit = groups[group].limits[dimension] else { continue }
      pool.buckets[dimension] = newBucket(limit)
    }
    pools.append(pool)
    let index = pools.count - 1
    poolIndex[key] = index
    for change in configuration.limits { apply(change, toPool: index) }
    for load in configuration.foreign { apply(load, toPool: index) }
    return index
  }

  mutating func newBucket(_ limit: Int64) -> Int {
    buckets.append(TokenBucket(limit: limit, depth: configuration.depth, now: now))
    return buckets.count - 1
  }

  private func matches(_ pool: Int, organization: String?, group: String?) -> Bool {
    let key = pools[pool].key
    return (organization ?? key.organization) == key.organization
      && (group ?? groups[key.group].name) == groups[key.group].name
  }

  mutating func apply(_ change: LimitChange, toPool pool: Int) {
    guard matches(pool, organization: change.organization, group: change.group) else { return }
    let newDepth = change.depthSeconds.map { Duration.milliseconds(Int64(min(max($0, 0.001), 60) * 1000)) }
    for dimension in Dimension.allCases {
      let existing =
        change.workspace.map { workspace in
          pools[pool].workspaceBuckets.first { $0.workspace == workspace && $0.dimension == dimension }?.bucket
        } ?? pools[pool].buckets[dimension]
      if let existing {
        let limit = change.limits[dimension] ?? buckets[existing].limit
        buckets[existing].reconfigure(limit: limit, depth: newDepth ?? buckets[existing].depth, at: now)
      } else if let limit = change.limits[dimension] {
        let bucket = newBucket(limit)
        if let newDepth { buckets[bucket] = TokenBucket(limit: limit, depth: newDepth, now: now) }
        if let workspace = change.workspace {
          pools[pool].workspaceBuckets.append(
            WorkspaceBucket(workspace: workspace, dimension: dimension, bucket: bucket))
        } else {
          pools[pool].buckets[dimension] = bucket
        }
      }
    }
  }

  mutating func apply(_ load: ForeignLoad, toPool pool: Int) {
    guard matches(pool, organization: load.organization, group: load.group) else { return }
    for bucket in pools[pool].buckets.values.sorted() {
      buckets[bucket].setForeign(percent: Int64(load.percent), at: now)
    }
  }

  // MARK: Changes while running

  /// Changes limits from now on. Levels keep their share of the capacity; a new limit of a workspace starts full, and
  /// streams that run already don't count against it.
  package mutating func setLimits(_ change: LimitChange, at time: MockTime) {
    advance(to: time)
    configuration.limits.append(change)
    for pool in pools.indices { apply(change, toPool: pool) }
  }

  /// Moves all organisations to another tier; limits that were set explicitly stay.
  package mutating func setTier(_ tier: Tier, at time: MockTime) {
    advance(to: time)
    configuration.tier = tier
    groups = ModelGroup.published(for: tier)
    for pool in pools.indices {
      for (dimension, limit) in groups[pools[pool].key.group].limits.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        guard let bucket = pools[pool].buckets[dimension] else { continue }
        buckets[bucket].reconfigure(limit: limit, depth: buckets[bucket].depth, at: now)
      }
      for change in configuration.limits where change.workspace == nil { apply(change, toPool: pool) }
    }
  }

  /// Sets what others use of the limits from now on.
  package mutating func setForeignLoad(_ load: ForeignLoad, at time: MockTime) {
    advance(to: time)
    configuration.foreign.append(load)
    for pool in pools.indices { apply(load, toPool: pool) }
  }

  /// Replaces the fault rules; their times count from now.
  package mutating func setFaults(_ rules: [FaultRule], at time: MockTime) {
    advance(to: time)
    configuration.faults = rules
    faults = FaultPlan(rules, start: now)
  }

  /// Changes what doesn't concern buckets: pace, stream style, headers, ramp, spend caps, error of the estimate.
  package mutating func changeSettings(_ change: (inout MockConfiguration) -> Void) {
    var changed = configuration
    change(&changed)
    (changed.limits, changed.foreign) = (configuration.limits, configuration.foreign)
    (changed.faults, changed.tier) = (configuration.faults, configuration.tier)
    configuration = changed
  }
}
