/// What a client may use on its own while the coordinator can't be reached. Rates are micro-units a minute.
package struct Share: Hashable, Sendable {
  /// For one lease after the loss.
  package var rates: PerDimension<Int64>
  /// What the rates decay to: safe even if the loss lasts.
  package var floor: PerDimension<Int64>
  /// How long the rates hold after the loss.
  package var lease: Duration
  /// How long the decay to the floor takes after that.
  package var decay: Duration

  /// Makes a share.
  package init(
    rates: PerDimension<Int64>, floor: PerDimension<Int64>, lease: Duration = .seconds(15),
    decay: Duration = .seconds(60)
  ) {
    self.rates = rates
    self.floor = floor
    self.lease = lease
    self.decay = decay
  }
}

/// The life of a share, at both ends: the pod follows it, and the coordinator keeps that much free for a lost pod.
package struct SharePolicy: Hashable, Sendable {
  /// The share that was told last.
  package private(set) var share: Share
  private var lostAt: BudgetTime?

  /// Makes a policy of a connected client.
  package init(share: Share) {
    self.share = share
  }

  /// Since when the coordinator is lost; nil: connected.
  package var lostSince: BudgetTime? { lostAt }

  /// Takes in a new share.
  package mutating func tell(_ share: Share) {
    self.share = share
  }

  /// Notes that the stream is gone; a second loss before a return changes nothing.
  package mutating func lose(now: BudgetTime) {
    lostAt = lostAt ?? now
  }

  /// Notes that the stream is back.
  package mutating func recover() {
    lostAt = nil
  }

  /// What the client may use at `now`: the share for one lease, then linearly less, at last the floor. A floor above
  /// the share counts once the lease is over, when the others have decayed.
  package func rates(at now: BudgetTime) -> PerDimension<Int64> {
    guard let lostAt else { return share.rates }
    let after = now.nanoseconds(since: lostAt).subtractingSaturated(share.lease.wholeNanoseconds)
    guard after > 0 else { return share.rates }
    let span = max(share.decay.wholeNanoseconds, 1)
    let passed = min(after, span)
    var rates = PerDimension<Int64>.zero
    for dimension in Dimension.allCases {
      let from = share.rates[dimension]
      let to = share.floor[dimension]
      rates[dimension] = from.addingSaturated(to.subtractingSaturated(from).scaled(by: passed, over: span))
    }
    return rates
  }
}
