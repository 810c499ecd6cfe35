/// How a budget is to be run.
package struct BudgetConfiguration: Hashable, Sendable {
  /// A fleet's part of the budget.
  package struct FleetShare: Hashable, Sendable {
    /// Its part in proportion to the other fleets' weights, from 1.
    package var weight: Int64
    /// The priority of requests that name none.
    package var priority: Priority

    /// Makes a share.
    package init(weight: Int64 = 1, priority: Priority = .normal) {
      self.weight = weight.clamped(to: 1...1_000)
      self.priority = priority
    }
  }

  /// Limits a minute; nil: learned from headers (input with cache reads: not limited). Default: none.
  package var limits: PerDimension<Int64?>
  /// Limits until a header tells better. Default: those of the smallest group of the Start tier.
  package var assumedLimits: PerDimension<Int64?>
  /// Percent of the limit that is granted: requests and input. Default 95.
  package var targetPercent: Int64
  /// Percent of the limit that is granted: output, whose use is known only afterwards. Default 90.
  package var outputTargetPercent: Int64
  /// The depth of the buckets, as time of the limit. Default 5 s.
  package var burst: Duration
  /// Percent of a minute's budget that only the most urgent class may use, at most half of a bucket. Default 5.
  package var reservePercent: Int64
  /// Fleets that aren't named have weight 1 and priority normal.
  package var fleets: [String: FleetShare]
  /// How many requests may wait. Default 10,000.
  package var queueLimit: Int
  /// On how many clients books are kept. Default 20,000.
  package var clientLimit: Int
  /// How long a request waits before it rises by one class. Default 60 s, so that low work is urgent after 180 of the
  /// 300 s that a request is held.
  package var ageing: Duration
  /// How long smaller requests may go before one that doesn't fit. Default 2 s.
  package var bypass: Duration
  /// How far bypassers of other fleets may get ahead, as time of the whole budget. Default 0.25 s.
  package var bypassLead: Duration
  /// When an unsettled grant expires: the longest request and a margin. Default 660 s.
  package var grantLease: Duration
  /// How long a client keeps its share after it lost the coordinator, and how long a new coordinator learns. Default 15 s.
  package var shareLease: Duration
  /// How long a share takes to decay to its floor after that. Default 60 s.
  package var shareDecay: Duration
  /// The longest pause for which requests are held. Default 300 s.
  package var longestPause: Duration
  /// After how long one request is let through a spend pause to see whether it is over; nil: never. Default 1 h.
  package var spendProbe: Duration?
  /// How fast use may grow; nil: as fast as it likes. Default +50 % a minute from half of the limit.
  package var ramp: RampPolicy?
  /// Whether the models' cache reads count as input (Haiku 3.5). Default false.
  package var countsCacheReads: Bool
  /// The prices of models; models without a price count as free.
  package var prices: PriceList
  /// The ceilings of money. Default: none.
  package var spend: SpendLimits

  /// Makes a configuration; without arguments that of the design.
  package init(
    limits: PerDimension<Int64?> = PerDimension(repeating: nil), targetPercent: Int64 = 95,
    outputTargetPercent: Int64 = 90, burst: Duration = .seconds(5), reservePercent: Int64 = 5,
    fleets: [String: FleetShare] = [:], queueLimit: Int = 10_000, ramp: RampPolicy? = RampPolicy(),
    prices: PriceList = PriceList(), spend: SpendLimits = SpendLimits()
  ) {
    self.limits = limits
    assumedLimits = PerDimension(
      requests: 1_000, inputTokens: 500_000, inputTokensTotal: nil, outputTokens: 100_000)
    self.targetPercent = targetPercent
    self.outputTargetPercent = outputTargetPercent
    self.burst = burst
    self.reservePercent = reservePercent
    self.fleets = fleets
    self.queueLimit = queueLimit
    clientLimit = 20_000
    ageing = .seconds(60)
    bypass = .seconds(2)
    bypassLead = .milliseconds(250)
    grantLease = .seconds(660)
    shareLease = .seconds(15)
    shareDecay = .seconds(60)
    longestPause = .seconds(300)
    spendProbe = .seconds(3_600)
    self.ramp = ramp
    countsCacheReads = false
    self.prices = prices
    self.spend = spend
  }

  /// The target of a dimension in parts per million.
  func target(of dimension: Dimension) -> Int64 {
    (dimension == .outputTokens ? min(outputTargetPercent, targetPercent) : targetPercent).clamped(to: 1...100)
      * 10_000
  }

  /// The share of a fleet.
  func share(of fleet: String) -> FleetShare {
    fleets[fleet] ?? FleetShare()
  }
}

/// Where a limit is known from.
package enum LimitSource: String, Hashable, Sendable {
  /// From the configuration.
  case configuration
  /// From response headers.
  case headers
  /// Neither is known yet.
  case assumed
}
