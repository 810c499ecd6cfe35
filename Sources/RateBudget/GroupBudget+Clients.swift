/// A grant that was made elsewhere: by the coordinator before this one, or by the coordinator for this pod.
package struct AdoptedGrant: Hashable, Sendable {
  /// The request that was granted; its deadline is of this process's clock.
  package var request: GrantRequest
  /// How long ago.
  package var age: Duration
  /// The output tokens that were reported so far.
  package var output: Int64

  /// Makes a grant.
  package init(request: GrantRequest, age: Duration = .zero, output: Int64 = 0) {
    self.request = request
    self.age = age
    self.output = output
  }
}

/// A share for one client.
package struct ShareNotice: Hashable, Sendable {
  /// Whom to tell.
  package var client: String
  /// What to tell.
  package var share: Share
  /// Whether it is less, in any dimension, than what the client was told before. These go first, so that what clients
  /// may use adds up to no more than the budget meanwhile; but for clients that gain in another dimension or group at the
  /// same time, for the second that a round takes.
  package var isCut: Bool
}

extension GroupBudget {
  struct Connection: Sendable {
    var fleet: String
    var policy: SharePolicy
    var use = PerDimension<Int64>.zero
    var smoothed = PerDimension<Int64>.zero
  }

  private static let forgetAfter: Duration = .seconds(600)

  /// Begins a lease of learning: the buckets are empty, and no more is granted than the shares that connected clients
  /// bring with them (a twentieth of the limit at least), because those that aren't connected yet still use theirs.
  package mutating func startLearning(now: BudgetTime) {
    learningUntil = now + configuration.shareLease
    for index in lanes.indices { lanes[index].drain(now: now) }
    steer(now: now)
  }

  /// Whether the budget is still learning.
  package func isLearning(at now: BudgetTime) -> Bool {
    learningUntil.map { now < $0 } ?? false
  }

  /// Notes a client's stream. What it holds from before counts: its share, and its grants that aren't settled yet,
  /// which join the live streams without being charged again.
  package mutating func connect(
    client: String, fleet: String, share: Share? = nil, outstanding: [AdoptedGrant] = [],
    used: PerDimension<Int64>? = nil, now: BudgetTime
  ) {
    let none = Share(
      rates: .zero, floor: .zero, lease: configuration.shareLease, decay: configuration.shareDecay)
    if connections[client] == nil {
      adoptRamp(share, outstanding, used, now: now)
      connections[client] = Connection(fleet: fleet, policy: SharePolicy(share: share ?? none))
    } else if let share {
      connections[client]?.policy.tell(share)
    }
    connections[client]?.fleet = fleet
    connections[client]?.policy.recover()
    _ = queue.client(named: client, fleet: self.fleet(named: fleet))
    for grant in outstanding { adopt(grant, charging: false, now: now) }
    steer(now: now)
    wakeAt = now
  }

  /// After a failover the use of before is no growth: what each client has used in a minute lately adds up to the rate
  /// that was reached. One that doesn't say, but brings open grants, was at work, and its share is what it was held to.
  private mutating func adoptRamp(
    _ share: Share?, _ outstanding: [AdoptedGrant], _ used: PerDimension<Int64>?, now: BudgetTime
  ) {
    guard isLearning(at: now), let rates = used ?? (outstanding.isEmpty ? nil : share?.rates) else { return }
    for index in lanes.indices { lanes[index].ramp.adopt(rates[lanes[index].dimension]) }
  }

  /// Notes that a client's stream is lost. Its waiting requests are cancelled (it goes on alone), its grants stay, and
  /// as much as it may use alone is kept free.
  package mutating func disconnect(client: String, now: BudgetTime) {
    for id in queue.waitingIDs(ofClient: client) { cancel(id, now: now) }
    connections[client]?.policy.lose(now: now)
    steer(now: now)
  }

  /// Forgets a client that is gone for good: its grants expire now.
  package mutating func remove(client: String, now: BudgetTime) {
    for id in queue.waitingIDs(ofClient: client) { cancel(id, now: now) }
    for lease in leases.values.filter({ $0.request.client == client }).sorted(by: { $0.request.id < $1.request.id }) {
      expire(lease, now: now)
    }
    connections[client] = nil
    _ = queue.forget(client: client)
    steer(now: now)
    wakeAt = now
  }

  /// Takes over a grant that was made elsewhere; one that is known already changes nothing.
  package mutating func adopt(_ grant: AdoptedGrant, charging: Bool, now: BudgetTime) {
    let request = grant.request
    guard leases[request.id] == nil else { return }
    if let ticket = queue.ticket(of: request.id) { queue.remove(ticket) }
    let fleet = fleet(named: request.fleet)
    _ = queue.client(named: request.client, fleet: fleet)
    let granted = BudgetTime(nanoseconds: now.nanoseconds.subtractingSaturated(grant.age.wholeNanoseconds))
    var charged = amounts(of: request.estimate)
    charged.outputTokens = 0
    if charging { charge(charged, fleet: fleet, client: request.client, granted: granted, now: now) }
    charged.outputTokens = grant.output
    let prices = prices(of: request.model)
    var lease = Lease(
      request: request, fleet: fleet, attempt: 0, submitted: granted, granted: granted,
      expires: max(granted + configuration.grantLease, now), charged: charged,
      reserved: prices?.cost(of: request.estimate) ?? 0, prices: prices, isAdopted: !charging)
    if request.estimate.expectedOutput > 0 {
      let streamClass = emission.streamClass(model: request.model, kind: request.kind)
      emission.begin(streamClass)
      lease.streamClass = streamClass
    }
    spend.reserve(lease.reserved)
    insert(lease)
  }

  /// The grants of a client that aren't settled, for a new coordinator: by number.
  package func outstanding(now: BudgetTime) -> [AdoptedGrant] {
    leases.values.sorted { $0.request.id < $1.request.id }.map {
      AdoptedGrant(request: $0.request, age: now - $0.granted, output: $0.charged.outputTokens)
    }
  }

  /// The shares to tell the connected clients, by name; call it every few seconds. Nothing while learning: clients keep
  /// what they brought. Each counts from `noteTold`.
  ///
  /// Half of a fleet's part is split evenly among its clients, half of the budget by recent use, so that a busy pod
  /// isn't cut to the mean and an idle one can still begin. Together they never exceed the budget.
  package mutating func shares(now: BudgetTime) -> [ShareNotice] {
    roll(to: now)
    forgetLost(now: now)
    guard !isLearning(at: now) else { return [] }
    let names = connections.filter { $0.value.policy.lostSince == nil }.keys.sorted()
    guard !names.isEmpty else { return [] }
    for name in names { connections[name]?.smooth() }
    var members: [String: Int64] = [:]
    for name in names { members[connections[name]?.fleet ?? "", default: 0] += 1 }
    let weights = members.keys.reduce(Int64(0)) { $0 + configuration.share(of: $1).weight }
    let uses = names.reduce(PerDimension<Int64>.zero) { $0 + (connections[$1]?.smoothed ?? .zero) }
    let budget = sharedRates(at: now)
    return names.map { name in
      let fleet = connections[name]?.fleet ?? ""
      let smoothed = connections[name]?.smoothed ?? .zero
      var rates = PerDimension<Int64>(repeating: .max)
      var floor = PerDimension<Int64>(repeating: .max)
      for dimension in Dimension.allCases {
        guard let whole = budget[dimension] else { continue }
        let equal = whole.scaled(by: configuration.share(of: fleet).weight, over: weights) / (members[fleet] ?? 1)
        floor[dimension] = equal / 2
        let all = uses[dimension]
        rates[dimension] =
          all > 0 ? (equal / 2).addingSaturated((whole / 2).scaled(by: smoothed[dimension], over: all)) : equal
      }
      let share = Share(
        rates: rates, floor: floor, lease: configuration.shareLease, decay: configuration.shareDecay)
      let before = connections[name]?.policy.share.rates ?? .zero
      let isCut = Dimension.allCases.contains { share.rates[$0] < before[$0] }
      return ShareNotice(client: name, share: share, isCut: isCut)
    }
  }

  /// Notes that a client is told its share now.
  package mutating func noteTold(_ notice: ShareNotice) {
    connections[notice.client]?.policy.tell(notice.share)
  }

  /// What all connected clients together may use: the steady rates without ramps.
  private func sharedRates(at now: BudgetTime) -> PerDimension<Int64?> {
    let lost = lostShares(at: now)
    var rates = PerDimension<Int64?>(repeating: nil)
    for lane in lanes {
      guard let limit = lane.limit else { continue }
      let target = limit.scaled(by: configuration.target(of: lane.dimension), over: million)
        .scaled(by: target.factor(at: now), over: million)
      rates[lane.dimension] = max(
        0, target.subtractingSaturated(lane.gauge.foreign(limit: limit)).subtractingSaturated(lost[lane.dimension]))
    }
    return rates
  }

  private mutating func forgetLost(now: BudgetTime) {
    let gone = connections.filter { $0.value.policy.lostSince.map { now - $0 > Self.forgetAfter } ?? false }
    for name in gone.keys.sorted() { remove(client: name, now: now) }
  }

  /// What clients without a stream may use on their own.
  func lostShares(at now: BudgetTime) -> PerDimension<Int64> {
    connections.values.reduce(.zero) { sum, connection in
      connection.policy.lostSince == nil ? sum : sum + connection.policy.rates(at: now)
    }
  }

  /// What was used in the last minute, in micro-units.
  package func used(now: BudgetTime) -> PerDimension<Int64> {
    var used = PerDimension<Int64>.zero
    for lane in lanes { used[lane.dimension] = lane.log.sum(now: now) }
    return used
  }

  /// What connected clients brought with them, while learning.
  func learningRates(at now: BudgetTime) -> PerDimension<Int64>? {
    guard isLearning(at: now) else { return nil }
    return connections.values.reduce(.zero) { sum, connection in
      connection.policy.lostSince == nil ? sum + connection.policy.share.rates : sum
    }
  }

  /// Holds this budget to a share; nil: the whole limit. The level stays, or falls to the smaller depth.
  package mutating func setShare(_ rates: PerDimension<Int64>?, now: BudgetTime) {
    guard share != rates else { return }
    share = rates
    steer(now: now)
    wakeAt = now
  }
}

extension GroupBudget.Connection {
  fileprivate mutating func smooth() {
    smoothed = (smoothed + use).map { max(0, $0 / 2) }
    use = .zero
  }
}
