package import KubernetesCore

/// What the coordinator knows of a budget at one moment.
package struct BudgetSample: Hashable, Sendable {
  /// What is limited.
  package enum DimensionName: String, Hashable, Sendable, CaseIterable {
    case requests
    case inputTokens
    case inputTokensTotal
    case outputTokens
  }

  /// One dimension; amounts are whole units a minute.
  package struct Dimension: Hashable, Sendable {
    /// Which.
    package var name: DimensionName
    /// The limit.
    package var limit: Int64
    /// What was admitted in the last minute.
    package var admitted: Int64
    /// What the waiting requests ask for.
    package var waiting: Int64
    /// What others use on the same organisation.
    package var foreign: Int64
    /// The lower edge of the band, in percent of the limit.
    package var lowerPercent: Int
    /// The upper edge: what may be granted now.
    package var upperPercent: Int
    /// Where the limit is known from, in a word or two.
    package var source: String

    /// Makes a dimension's numbers.
    package init(
      name: DimensionName, limit: Int64, admitted: Int64, waiting: Int64, foreign: Int64, lowerPercent: Int,
      upperPercent: Int, source: String
    ) {
      self.name = name
      self.limit = limit
      self.admitted = admitted
      self.waiting = waiting
      self.foreign = foreign
      self.lowerPercent = lowerPercent
      self.upperPercent = upperPercent
      self.source = source
    }

    /// Admitted and foreign use in tenths of a percent of the limit.
    var utilization: Int {
      let used = Int128(max(admitted, 0)) + Int128(max(foreign, 0))
      return Int(clamping: used * 1000 / Int128(max(limit, 1)))
    }
  }

  /// Which `APIBudget`.
  package var key: ObjectKey
  /// The limited dimensions.
  package var dimensions: [Dimension]
  /// 95 % of the last minute's grants waited less, in milliseconds; nil: there were none.
  package var waitP95Milliseconds: Int64?
  /// How many requests wait.
  package var waiting: Int
  /// Answers 429 of the last minute for the rate.
  package var rejectedForRate: Int64
  /// Answers 429 of the last minute for the speed of growth.
  package var rejectedForRamp: Int64
  /// Answers 529 of the last minute.
  package var overloaded: Int64
  /// Spent since midnight UTC, in micro-dollars.
  package var spentToday: Int64
  /// The ceiling of a day, in micro-dollars; nil: none.
  package var dailyLimit: Int64?
  /// The clients that draw from it.
  package var clients: Int
  /// Whether the limits are still being learned.
  package var isLearning: Bool
  /// What everybody is refused with now, in words; nil: requests are granted.
  package var standing: String?

  /// Makes a sample.
  package init(
    key: ObjectKey, dimensions: [Dimension], waitP95Milliseconds: Int64? = nil, waiting: Int = 0,
    rejectedForRate: Int64 = 0, rejectedForRamp: Int64 = 0, overloaded: Int64 = 0, spentToday: Int64 = 0,
    dailyLimit: Int64? = nil, clients: Int = 0, isLearning: Bool = false, standing: String? = nil
  ) {
    self.key = key
    self.dimensions = dimensions
    self.waitP95Milliseconds = waitP95Milliseconds
    self.waiting = waiting
    self.rejectedForRate = rejectedForRate
    self.rejectedForRamp = rejectedForRamp
    self.overloaded = overloaded
    self.spentToday = spentToday
    self.dailyLimit = dailyLimit
    self.clients = clients
    self.isLearning = isLearning
    self.standing = standing
  }
}

/// A moment of a budget, 20 bytes.
struct BudgetPoint: SeriesPoint {
  /// Seconds since the epoch.
  var at: UInt32
  /// Use of each dimension, in tenths of a percent of its limit.
  var requests = CompactCount.absent
  /// Use of each dimension, in tenths of a percent of its limit.
  var inputTokens = CompactCount.absent
  /// Use of each dimension, in tenths of a percent of its limit.
  var inputTokensTotal = CompactCount.absent
  /// Use of each dimension, in tenths of a percent of its limit.
  var outputTokens = CompactCount.absent
  /// Answers 429 of the last minute.
  var rejected: CompactCount
  /// How long 95 % of the grants waited at most, in hundredths of a second.
  var wait: CompactCount
  /// Requests that wait.
  var waiting: CompactCount

  /// The moment of a sample.
  init(_ sample: BudgetSample, at: UInt32) {
    self.at = at
    rejected = CompactCount(sample.rejectedForRate + sample.rejectedForRamp)
    wait = CompactCount(sample.waitP95Milliseconds.map { ($0 + 9) / 10 })
    waiting = CompactCount(sample.waiting)
    for dimension in sample.dimensions {
      let use = CompactCount(dimension.utilization)
      switch dimension.name {
      case .requests: requests = use
      case .inputTokens: inputTokens = use
      case .inputTokensTotal: inputTokensTotal = use
      case .outputTokens: outputTokens = use
      }
    }
  }

  func saysTheSame(as other: BudgetPoint) -> Bool {
    var other = other
    other.at = at
    return self == other
  }

  /// Moments with 429s stay, then those with much use.
  var weight: Int {
    let use = [requests, inputTokens, inputTokensTotal, outputTokens].compactMap(\.value).max() ?? 0
    return (rejected.value ?? 0) * 100_000 + use
  }
}

/// A budget as the page knows it.
struct BudgetEntry: Sendable {
  /// What was sampled last.
  var sample: BudgetSample
  /// When.
  var at: UInt32
  /// The history.
  var series = BoundedSeries<BudgetPoint>()

  /// How many bytes it takes beside its place in the list.
  var extraBytes: Int {
    series.byteCount + heapBytes(of: sample.key.namespace) + heapBytes(of: sample.key.name)
      + sample.dimensions.capacity * MemoryLayout<BudgetSample.Dimension>.stride + 32
      + heapBytes(of: sample.standing ?? "")
  }
}
