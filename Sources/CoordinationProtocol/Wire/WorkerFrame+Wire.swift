package import RateBudget
import SwiftProtobuf

extension WorkerFrame {
  /// Reads a frame. What means nothing to this version in a place where that does no harm is passed over.
  package init(
    validating wire: WireWorkerFrame, table: inout GroupTable, identity: WorkerIdentity, now: BudgetTime
  ) throws(ProtocolViolation) {
    self.init()
    try Check.count(wire.groups.count, "frame.groups", limit: ProtocolLimits.groups)
    try Check.count(wire.observations.count, "frame.observations")
    try Check.count(wire.settlements.count, "frame.settlements")
    try Check.count(wire.rejections.count, "frame.rejections")
    try Check.count(wire.requests.count, "frame.requests")
    try Check.count(wire.cancellations.count, "frame.cancellations")
    try Check.count(wire.drainAcks.count, "frame.drain_acks", limit: ProtocolLimits.drains)
    for group in wire.groups { groups.append(try table.define(group)) }
    for observation in wire.observations {
      observations.append((try table.key(observation.group), RateHeaders(observation)))
    }
    for settlement in wire.settlements {
      if let note = try SettlementNote(validating: settlement, table: table) { settlements.append(note) }
    }
    for rejection in wire.rejections { rejections.append(try RejectionNote(validating: rejection, table: table)) }
    for request in wire.requests {
      requests.append(
        RequestNote(
          group: try table.key(request.group),
          request: try GrantRequest(validating: request, identity: identity, now: now)))
    }
    for cancellation in wire.cancellations {
      try Check.number(cancellation.number)
      cancellations.append(NumberNote(group: try table.key(cancellation.group), number: cancellation.number))
    }
    if wire.hasActivity { activity = WorkerActivity(wire.activity) }
    for ack in wire.drainAcks {
      if let state = DrainState(ack.state) { drainAnswers.append(DrainAnswer(order: ack.order, state: state)) }
    }
    isGoodbye = wire.goodbye
  }

  /// The frame, as it is sent; new groups get their numbers in it.
  package func wire(numbers: inout GroupNumbers, now: BudgetTime) -> WireWorkerFrame {
    var table = numbers
    var definitions: [WireGroupDefinition] = []
    func number(_ key: GroupKey) -> UInt32 {
      if let known = table.number(of: key) { return known }
      guard let number = table.define(key) else { return 0 }
      definitions.append(
        WireGroupDefinition.with {
          $0.index = number
          $0.key = key.wire
        })
      return number
    }
    var wire = WireWorkerFrame()
    for key in groups { _ = number(key) }
    wire.observations = observations.map { $0.headers.wire(group: number($0.group)) }
    wire.settlements = settlements.map { $0.wire(group: number($0.group)) }
    wire.rejections = rejections.map { $0.wire(group: number($0.group)) }
    wire.requests = requests.map { $0.request.wire(group: number($0.group), now: now) }
    wire.cancellations = cancellations.map { note in
      WireCancellation.with {
        $0.group = number(note.group)
        $0.number = note.number
      }
    }
    if let activity { wire.activity = activity.wire }
    wire.drainAcks = drainAnswers.map { answer in
      WireDrainAck.with {
        $0.order = answer.order
        $0.state = answer.state.wire
      }
    }
    wire.groups = definitions
    wire.goodbye = isGoodbye
    numbers = table
    return wire
  }

  /// Takes the first part out that fits one message.
  package mutating func takePart(entries limit: Int = ProtocolLimits.entries) -> WorkerFrame {
    var part = WorkerFrame()
    part.groups = Self.take(&groups, ProtocolLimits.groups)
    part.observations = Self.take(&observations, limit)
    part.settlements = Self.take(&settlements, limit)
    part.rejections = Self.take(&rejections, limit)
    part.requests = Self.take(&requests, limit)
    // A cancellation must not overtake its request.
    if requests.isEmpty { part.cancellations = Self.take(&cancellations, limit) }
    part.activity = activity
    activity = nil
    part.drainAnswers = Self.take(&drainAnswers, ProtocolLimits.drains)
    let goodbye = isGoodbye
    isGoodbye = false
    if isEmpty { part.isGoodbye = goodbye } else { isGoodbye = goodbye }
    return part
  }

  private static func take<Element>(_ list: inout [Element], _ limit: Int) -> [Element] {
    guard list.count > limit else {
      let all = list
      list = []
      return all
    }
    let part = Array(list.prefix(limit))
    list.removeFirst(limit)
    return part
  }
}

extension SettlementNote {
  init?(validating wire: WireSettlement, table: GroupTable) throws(ProtocolViolation) {
    try Check.number(wire.number)
    let group = try table.key(wire.group)
    let kind: Kind
    switch wire.kind {
    case .progress: kind = .progress
    case .final: kind = .final
    case .released: kind = .released
    case .unspecified, .UNRECOGNIZED: return nil
    }
    self.init(
      group: group, number: wire.number, kind: kind,
      usage: Usage(
        input: wire.hasInput ? wire.input : nil, cacheCreation: wire.hasCacheCreation ? wire.cacheCreation : nil,
        cacheCreationHour: wire.hasCacheCreationHour ? wire.cacheCreationHour : nil,
        cacheRead: wire.hasCacheRead ? wire.cacheRead : nil, output: wire.hasOutput ? wire.output : nil))
  }

  func wire(group: UInt32) -> WireSettlement {
    WireSettlement.with {
      $0.group = group
      $0.number = number
      $0.kind =
        switch kind {
        case .progress: .progress
        case .final: .final
        case .released: .released
        }
      if let input = usage.input { $0.input = input }
      if let tokens = usage.cacheCreation { $0.cacheCreation = tokens }
      if let tokens = usage.cacheCreationHour { $0.cacheCreationHour = tokens }
      if let tokens = usage.cacheRead { $0.cacheRead = tokens }
      if let output = usage.output { $0.output = output }
    }
  }
}

extension RejectionNote {
  init(validating wire: WireRejection, table: GroupTable) throws(ProtocolViolation) {
    try Check.number(wire.number)
    try Check.string(wire.code, "rejection.code", limit: ProtocolLimits.labelBytes)
    let retryAfter: Duration? = wire.hasRetryAfterMs ? Check.duration(wire.retryAfterMs) : nil
    let verdict: UpstreamVerdict =
      switch wire.kind {
      case .rate: .rateLimited(retryAfter: retryAfter)
      case .ramp: .rampLimited(retryAfter: retryAfter)
      case .spend: .spendLimited(code: wire.code, retryAfter: retryAfter)
      case .overloaded: .overloaded
      case .unspecified, .UNRECOGNIZED: throw .unknownValue("rejection.kind")
      }
    self.init(
      group: try table.key(wire.group), number: wire.number, verdict: verdict, headers: RateHeaders(wire.headers))
  }

  func wire(group: UInt32) -> WireRejection {
    WireRejection.with {
      $0.group = group
      $0.number = number
      switch verdict {
      case .rateLimited(let wait):
        $0.kind = .rate
        if let wait { $0.retryAfterMs = wait.wireMilliseconds }
      case .rampLimited(let wait):
        $0.kind = .ramp
        if let wait { $0.retryAfterMs = wait.wireMilliseconds }
      case .spendLimited(let code, let wait):
        $0.kind = .spend
        $0.code = Check.safe(code, limit: ProtocolLimits.labelBytes)
        if let wait { $0.retryAfterMs = wait.wireMilliseconds }
      // A settled answer is no rejection: the link never sends it here.
      case .overloaded, .settled: $0.kind = .overloaded
      }
      if !headers.isEmpty || headers.date != nil { $0.headers = headers.wire(group: group) }
    }
  }
}

extension RateHeaders {
  init(_ wire: WireLimitObservation) {
    self.init(
      readings: PerDimension(
        requests: Reading(wire.requests), inputTokens: Reading(wire.inputTokens), inputTokensTotal: Reading(),
        outputTokens: Reading(wire.outputTokens)),
      date: wire.hasDateMs ? WallTime(milliseconds: wire.dateMs) : nil)
  }

  func wire(group: UInt32) -> WireLimitObservation {
    WireLimitObservation.with {
      $0.group = group
      if !readings.requests.isEmpty { $0.requests = readings.requests.wire }
      if !readings.inputTokens.isEmpty { $0.inputTokens = readings.inputTokens.wire }
      if !readings.outputTokens.isEmpty { $0.outputTokens = readings.outputTokens.wire }
      if let date { $0.dateMs = date.milliseconds }
    }
  }
}

extension RateHeaders.Reading {
  init(_ wire: WireReading) {
    self.init(
      limit: wire.hasLimit ? wire.limit : nil, remaining: wire.hasRemaining ? wire.remaining : nil,
      reset: wire.hasResetMs ? WallTime(milliseconds: wire.resetMs) : nil)
  }

  var wire: WireReading {
    WireReading.with {
      if let limit { $0.limit = limit }
      if let remaining { $0.remaining = remaining }
      if let reset { $0.resetMs = reset.milliseconds }
    }
  }
}

extension DrainState {
  /// Reads a state; nil: one that isn't known.
  init?(_ wire: WireDrainState) {
    switch wire {
    case .accepted: self = .accepted
    case .drained: self = .drained
    case .refused: self = .refused
    case .unspecified, .UNRECOGNIZED: return nil
    }
  }

  var wire: WireDrainState {
    switch self {
    case .accepted: .accepted
    case .drained: .drained
    case .refused: .refused
    }
  }
}
