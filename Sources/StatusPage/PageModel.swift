package import KubernetesCore
package import ScalingDecision

/// What the page remembers: the present of each fleet and budget, a bounded history, and the latest decisions.
///
/// Everything together takes at most `Limits.bytes` with up to 1,000 autoscalers: the more there are, the fewer points each keeps.
/// Time is an argument; nothing here knows who looks.
package struct PageModel: Sendable {
  /// How much is kept.
  package struct Limits: Hashable, Sendable {
    /// What all may take with up to 1,000 autoscalers.
    package var bytes = 1_000_000
    /// The points of all fleets together: a third of a megabyte.
    package var fleetPoints = 22_000
    /// The points of one fleet: two hours of a fleet that moves with every pass of 15 seconds, a day of a calm one.
    package var pointsPerFleet = 480
    /// The points of all budgets together.
    package var budgetPoints = 4_800
    /// The points of one budget: 20 minutes at full resolution, more with less of it.
    package var pointsPerBudget = 240
    /// How many fleets are followed; later ones aren't shown.
    package var fleets = 10_000
    /// How many budgets are followed.
    package var budgets = 1_000
    /// What the decisions may take at least, however many fleets there are.
    package var leastDecisionBytes = 160_000
    /// Up to how many fleets a record is kept with its workers.
    package var fleetsWithWholeRecords = 100
    /// Up to how many workers they stand in a record: to write out a thousand for a page that nobody may look at is work.
    package var workersInRecords = 120
    /// The points that a fleet keeps at least.
    package var leastPoints = 8

    /// Makes the limits.
    package init() {}
  }

  /// How often a budget gets a point.
  static let budgetPeriod: UInt32 = 5

  /// How much is kept.
  let limits: Limits
  /// The fleets, by key.
  private(set) var fleets: [FleetEntry] = []
  /// The budgets, by key.
  private(set) var budgets: [BudgetEntry] = []
  /// The decisions.
  private(set) var decisions = DecisionHistory()
  /// The fleets that have gone, with the revision at which they went; bounded, see `forgottenRevision`.
  private(set) var gone: [(key: ObjectKey, revision: UInt64)] = []
  /// Up to which revision `gone` isn't complete any more.
  private(set) var forgottenRevision: UInt64 = 0
  /// Counts every change.
  private(set) var revision: UInt64 = 0
  /// Whether there are more fleets than are followed.
  private(set) var isTruncated = false
  private var fleetTextBytes = 0
  private var fleetSeriesBytes = 0
  private var budgetExtraBytes = 0

  /// Makes an empty model.
  package init(limits: Limits = Limits()) { self.limits = limits }

  /// Forgets everything: another leader may have acted since.
  mutating func reset() {
    var fresh = PageModel(limits: limits)
    fresh.revision = revision + 1
    fresh.forgottenRevision = fresh.revision
    self = fresh
  }

  // MARK: Fleets

  /// What a pass found and decided.
  package struct Observation: Sendable {
    /// Which autoscaler.
    package var key: ObjectKey
    /// When.
    package var at: Timestamp
    /// What it scales, such as `Deployment/reviewers`; empty: it couldn't be read.
    package var target: String
    /// What was decided; nil: nothing could be.
    package var plan: Plan?
    /// Workers that run and are ready; nil: not known.
    package var ready: Int?
    /// Pieces of work in hand; nil: no worker reports.
    package var inFlight: Int?
    /// Workers whose removal began while they had work, since the leader began.
    package var removedBusy = 0
    /// Pieces of work that were in hand when their worker was gone, since then.
    package var lostWork = 0
    /// Whether the plan's write was made.
    package var hasWritten: Bool
    /// What keeps it from being served, in words; nil: nothing.
    package var trouble: String?
    /// Equal for passes that a person would call the same.
    package var signature: Int

    /// Makes an observation.
    package init(
      key: ObjectKey, at: Timestamp, target: String, plan: Plan?, ready: Int? = nil, inFlight: Int? = nil,
      hasWritten: Bool = false, trouble: String? = nil, signature: Int
    ) {
      self.key = key
      self.at = at
      self.target = target
      self.plan = plan
      self.ready = ready
      self.inFlight = inFlight
      self.hasWritten = hasWritten
      self.trouble = trouble
      self.signature = signature
    }
  }

  /// Whether an observation says something that a person should read; then `note` wants its record.
  package func isNews(_ observation: Observation) -> Bool {
    guard let index = index(of: observation.key) else { return true }
    return fleets[index].signature != observation.signature || observation.hasWritten
  }

  /// Whether the record of an observation is kept with its workers.
  package func keepsWorkers(of observation: Observation) -> Bool {
    fleets.count <= limits.fleetsWithWholeRecords
      && (observation.plan?.currentReplicas ?? 0) <= limits.workersInRecords
  }

  /// Takes in what a pass found; `record` is the line of the decision log, empty where there is none.
  package mutating func note(_ observation: Observation, record: [UInt8]) {
    // Both as the caller saw them, before the fleet is added.
    let (isNews, isAbridged) = (isNews(observation), !keepsWorkers(of: observation))
    guard let index = index(of: observation.key) ?? insert(observation.key) else {
      isTruncated = true
      return
    }
    revision += 1
    count(fleets[index], -1)
    fleets[index].update(observation, revision: revision, quota: fleetQuota)
    count(fleets[index], 1)
    if isNews, let entry = Self.entry(observation, record: record, isAbridged: isAbridged) {
      fleets[index].decision = decisions.append(entry, capacity: decisionCapacity)
    }
  }

  private static func entry(_ observation: Observation, record: [UInt8], isAbridged: Bool) -> DecisionEntry? {
    if let trouble = observation.trouble, !observation.hasWritten {
      return DecisionEntry(
        number: 0, at: observation.at, fleet: observation.key, words: trouble,
        current: observation.plan?.currentReplicas, record: record, isAbridged: isAbridged)
    }
    guard let plan = observation.plan else { return nil }
    return DecisionEntry(
      number: 0, at: observation.at, fleet: observation.key, words: plan.logLine(name: observation.key.name),
      current: plan.currentReplicas, desired: plan.desiredReplicas,
      written: observation.hasWritten ? plan.write : nil, step: plan.bindingStep, isDryRun: plan.isDryRun,
      record: record, isAbridged: isAbridged)
  }

  /// Forgets an autoscaler that is gone.
  mutating func forget(_ key: ObjectKey) {
    guard let index = index(of: key) else { return }
    revision += 1
    count(fleets[index], -1)
    fleets.remove(at: index)
    if gone.count >= 256 {
      forgottenRevision = gone[127].revision
      gone.removeFirst(128)
    }
    gone.append((key, revision))
  }

  /// The fleet of a key.
  func fleet(_ key: ObjectKey) -> FleetEntry? { index(of: key).map { fleets[$0] } }

  private func index(of key: ObjectKey) -> Int? {
    let index = fleets.firstIndex(notBefore: key, \.key)
    return index < fleets.count && fleets[index].key == key ? index : nil
  }

  private mutating func insert(_ key: ObjectKey) -> Int? {
    guard fleets.count < limits.fleets else { return nil }
    let oldQuota = fleetQuota
    let index = fleets.firstIndex(notBefore: key, \.key)
    // Doubling would keep half of it empty.
    if fleets.capacity == fleets.count { fleets.reserveCapacity(fleets.count + max(16, fleets.count / 8)) }
    let entry = FleetEntry(
      key: key, target: "",
      last: FleetPoint(
        at: 0, current: .absent, ready: .absent, desired: .absent, demand: .absent, allowed: .absent, inFlight: .absent)
    )
    fleets.insert(entry, at: index)
    count(entry, 1)
    if fleetQuota < oldQuota { thinFleets() }
    return index
  }

  private mutating func thinFleets() {
    let quota = fleetQuota
    for index in fleets.indices {
      count(fleets[index], -1)
      fleets[index].series.thin(to: quota)
      count(fleets[index], 1)
    }
  }

  private mutating func count(_ entry: FleetEntry, _ sign: Int) {
    fleetTextBytes += sign * entry.textBytes
    fleetSeriesBytes += sign * entry.series.byteCount
  }

  // MARK: Budgets

  /// Takes in what the coordinator knows of the budgets; those that aren't named are gone.
  mutating func note(_ samples: [BudgetSample], at now: Timestamp) {
    let samples = samples.sorted { $0.key < $1.key }.prefix(limits.budgets)
    let at = now.pageSeconds
    var fresh: [BudgetEntry] = []
    fresh.reserveCapacity(samples.count)
    budgetExtraBytes = 0
    for sample in samples {
      let old = budgets.firstIndex(notBefore: sample.key, \.sample.key)
      var entry: BudgetEntry
      if old < budgets.count, budgets[old].sample.key == sample.key {
        entry = budgets[old]
        // Else the history would be copied for each point.
        budgets[old].series = BoundedSeries()
      } else {
        entry = BudgetEntry(sample: sample, at: at)
      }
      entry.sample = sample
      entry.at = at
      let last = entry.series.points.last?.at ?? 0
      if at < last || at - last >= Self.budgetPeriod {
        entry.series.append(BudgetPoint(sample, at: at), quota: budgetQuota(of: samples.count))
      }
      budgetExtraBytes += entry.extraBytes
      fresh.append(entry)
    }
    budgets = fresh
    revision += 1
  }

  /// The budgets of a namespace.
  func budgets(inNamespace namespace: String) -> [BudgetEntry] {
    budgets.filter { $0.sample.key.namespace == namespace }
  }

  // MARK: Bounds

  /// How many points a fleet may keep now. In steps, so that not every new fleet thins all the others.
  var fleetQuota: Int {
    Self.quota(limits.pointsPerFleet, all: limits.fleetPoints, count: fleets.count, least: limits.leastPoints)
  }

  private func budgetQuota(of count: Int) -> Int {
    Self.quota(limits.pointsPerBudget, all: limits.budgetPoints, count: count, least: limits.leastPoints / 2)
  }

  private static func quota(_ most: Int, all: Int, count: Int, least: Int) -> Int {
    var quota = most
    while quota > least, quota * count > all { quota = max(quota * 4 / 5, least) }
    return quota
  }

  /// What the points leave when each history is as long as it may be: they fill up after decisions have come.
  private var decisionCapacity: Int {
    let histories = fleets.count * (fleetQuota * MemoryLayout<FleetPoint>.stride + 64)
    return max(limits.leastDecisionBytes, limits.bytes - fleetBytes + fleetSeriesBytes - histories - budgetBytes)
  }

  private var fleetBytes: Int {
    fleets.capacity * MemoryLayout<FleetEntry>.stride + fleetTextBytes + fleetSeriesBytes
  }
  private var budgetBytes: Int { budgets.capacity * MemoryLayout<BudgetEntry>.stride + budgetExtraBytes }

  /// How many bytes everything takes.
  package var byteCount: Int { fleetBytes + budgetBytes + decisions.byteCount }
}

extension FleetEntry {
  /// Takes in what a pass found.
  fileprivate mutating func update(_ observation: PageModel.Observation, revision: UInt64, quota: Int) {
    self.revision = revision
    signature = observation.signature
    isTroubled = observation.trouble != nil
    removedBusy = observation.removedBusy
    lostWork = observation.lostWork
    if observation.hasWritten, let plan = observation.plan, let write = plan.write, write < plan.currentReplicas {
      removed += plan.currentReplicas - write
    }
    if !observation.target.isEmpty, target != observation.target { target = observation.target }
    guard let plan = observation.plan else {
      last.at = observation.at.pageSeconds
      step = nil
      return
    }
    let counts = { (role: MetricSpec.Role) in plan.proposals.filter { $0.role == role }.compactMap(\.replicas) }
    last = FleetPoint(
      at: observation.at.pageSeconds,
      current: CompactCount(observation.hasWritten ? plan.write ?? plan.currentReplicas : plan.currentReplicas),
      ready: CompactCount(observation.ready), desired: CompactCount(plan.desiredReplicas),
      demand: CompactCount(counts(.demand).max()), allowed: CompactCount(counts(.ceiling).min()),
      inFlight: CompactCount(observation.inFlight))
    minimum = CompactCount(plan.bounds.lowerBound)
    maximum = CompactCount(plan.bounds.upperBound)
    step = plan.bindingStep
    isDryRun = plan.isDryRun
    series.append(last, quota: quota)
  }
}

extension Array {
  /// The place of the first element whose key isn't before `key`, in an array that is sorted by it.
  fileprivate func firstIndex(notBefore key: ObjectKey, _ path: (Element) -> ObjectKey) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if path(self[middle]) < key { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
