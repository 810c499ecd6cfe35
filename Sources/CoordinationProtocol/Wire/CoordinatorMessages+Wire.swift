package import RateBudget
import SwiftProtobuf

extension GroupConfiguration {
  init(validating wire: WireGroupConfiguration) throws(ProtocolViolation) {
    try Check.string(wire.modelGroup, "group_configuration.model_group")
    try Check.string(wire.organization, "group_configuration.organization")
    try Check.string(wire.workspace, "group_configuration.workspace")
    try Check.count(wire.models.count, "group_configuration.models", limit: ProtocolLimits.patterns)
    for model in wire.models { try Check.string(model, "group_configuration.models") }
    var budget = BudgetConfiguration(
      limits: PerDimension(wire.limits), targetPercent: Int64(wire.targetPercent),
      outputTargetPercent: Int64(wire.outputTargetPercent), burst: Check.duration(wire.burstMs))
    budget.countsCacheReads = wire.countsCacheReads
    self.init(
      modelGroup: wire.modelGroup, organization: wire.organization, workspace: wire.workspace, models: wire.models,
      budget: budget)
  }

  var wire: WireGroupConfiguration {
    WireGroupConfiguration.with {
      $0.modelGroup = Check.safe(modelGroup, limit: ProtocolLimits.nameBytes)
      $0.organization = Check.safe(organization, limit: ProtocolLimits.nameBytes)
      $0.workspace = Check.safe(workspace, limit: ProtocolLimits.nameBytes)
      $0.models = models.prefix(ProtocolLimits.patterns).map { Check.safe($0, limit: ProtocolLimits.nameBytes) }
      $0.limits = budget.limits.wire
      $0.targetPercent = UInt32(clamping: budget.targetPercent)
      $0.outputTargetPercent = UInt32(clamping: budget.outputTargetPercent)
      $0.burstMs = budget.burst.wireMilliseconds
      $0.countsCacheReads = budget.countsCacheReads
    }
  }
}

extension CoordinatorWelcome {
  /// Reads the first message of a coordinator.
  package init(validating wire: WireWelcome) throws(ProtocolViolation) {
    guard wire.protocolVersion == ProtocolLimits.version else { throw .version(wire.protocolVersion) }
    try Check.string(wire.coordinator, "welcome.coordinator")
    try Check.count(wire.capabilities.count, "welcome.capabilities", limit: ProtocolLimits.capabilities)
    try Check.count(wire.groups.count, "welcome.groups", limit: ProtocolLimits.entries)
    guard wire.leaseMs > 0 else { throw .missing("welcome.lease_ms") }
    var groups: [GroupConfiguration] = []
    for group in wire.groups { groups.append(try GroupConfiguration(validating: group)) }
    self.init(
      coordinator: wire.coordinator, lease: Check.duration(wire.leaseMs), groups: groups,
      capabilities: wire.capabilities)
  }

  /// The message, as it is sent.
  package var wire: WireWelcome {
    WireWelcome.with {
      $0.protocolVersion = ProtocolLimits.version
      $0.coordinator = Check.safe(coordinator, limit: ProtocolLimits.nameBytes)
      $0.leaseMs = lease.wireMilliseconds
      $0.groups = groups.prefix(ProtocolLimits.entries).map(\.wire)
      $0.capabilities = Array(capabilities.prefix(ProtocolLimits.capabilities))
    }
  }
}

extension RefusalNote {
  /// Reads a refusal; one whose kind this version doesn't know counts as a full queue: worth trying again.
  init(validating wire: WireRefusal) throws(ProtocolViolation) {
    try Check.number(wire.number)
    try Check.string(wire.code, "refusal.code", limit: ProtocolLimits.labelBytes)
    let limit = Int(clamping: wire.limit)
    let wait = Check.duration(wire.waitMs)
    let refusal: Refusal? =
      switch wire.kind {
      case .expired: nil
      case .queueFull, .unspecified, .UNRECOGNIZED: .queueFull(limit: limit)
      case .tooManyClients: .tooManyClients(limit: limit)
      case .spendCeilingHour: .spendCeiling(.hour, resumesIn: wait)
      case .spendCeilingDay: .spendCeiling(.day, resumesIn: wait)
      case .upstreamSpendLimit: .upstreamSpendLimit(code: wire.code)
      case .upstreamPause: .upstreamPause(retryAfter: wait)
      case .deadlineBeforeRetry: .deadlineBeforeRetry(retryAfter: wait)
      }
    self.init(number: wire.number, refusal: refusal)
  }

  var wire: WireRefusal {
    WireRefusal.with {
      $0.number = number
      switch refusal {
      case nil: $0.kind = .expired
      case .queueFull(let limit):
        $0.kind = .queueFull
        $0.limit = Int64(limit)
      case .tooManyClients(let limit):
        $0.kind = .tooManyClients
        $0.limit = Int64(limit)
      case .spendCeiling(let period, let wait):
        $0.kind = period == .hour ? .spendCeilingHour : .spendCeilingDay
        $0.waitMs = wait.wireMilliseconds
      case .upstreamSpendLimit(let code):
        $0.kind = .upstreamSpendLimit
        $0.code = Check.safe(code, limit: ProtocolLimits.labelBytes)
      case .upstreamPause(let wait):
        $0.kind = .upstreamPause
        $0.waitMs = wait.wireMilliseconds
      case .deadlineBeforeRetry(let wait):
        $0.kind = .deadlineBeforeRetry
        $0.waitMs = wait.wireMilliseconds
      }
    }
  }
}

extension RejectionAnswer {
  init(validating wire: WireRejectionAnswer) throws(ProtocolViolation) {
    try Check.number(wire.number)
    switch wire.decision {
    case .requeuedMs(let wait): self.init(number: wire.number, decision: .requeued(Check.duration(wait)))
    case .refused(let refusal):
      let note = try RefusalNote(validating: refusal)
      self.init(
        number: wire.number, decision: .tellClient(note.refusal ?? .deadlineBeforeRetry(retryAfter: .zero)))
    case .unknown, nil: self.init(number: wire.number, decision: .unknown)
    }
  }

  var wire: WireRejectionAnswer {
    WireRejectionAnswer.with {
      $0.number = number
      switch decision {
      case .requeued(let wait): $0.requeuedMs = wait.wireMilliseconds
      case .tellClient(let refusal): $0.refused = RefusalNote(number: number, refusal: refusal).wire
      case .unknown: $0.unknown = true
      }
    }
  }
}

extension CoordinatorFrame {
  /// Reads a frame; `key` tells which group has a number, nil: none, which is passed over.
  package init(
    validating wire: WireCoordinatorFrame, key: (UInt32) -> GroupKey?
  ) throws(ProtocolViolation) {
    self.init()
    try Check.count(wire.grants.count, "frame.grants")
    try Check.count(wire.refusals.count, "frame.refusals")
    try Check.count(wire.answers.count, "frame.answers")
    try Check.count(wire.shares.count, "frame.shares")
    try Check.count(wire.drains.count, "frame.drains", limit: ProtocolLimits.drains)
    try Check.count(wire.groups.count, "frame.groups")
    for grant in wire.grants {
      try Check.number(grant.number)
      grants.append(
        GrantNote(
          number: grant.number, waited: Check.duration(grant.waitedMs), lease: Check.duration(grant.leaseMs),
          attempt: Int(grant.attempt)))
    }
    for refusal in wire.refusals { refusals.append(try RefusalNote(validating: refusal)) }
    for answer in wire.answers { answers.append(try RejectionAnswer(validating: answer)) }
    for notice in wire.shares {
      guard let group = key(notice.group) else { continue }
      shares.append((group, try Share(validating: notice.share)))
    }
    if wire.hasLease { lease = Check.duration(wire.lease.leaseMs) }
    drains = wire.drains.map {
      DrainOrder(order: $0.order, timeout: Check.duration($0.timeoutMs), isWithdrawn: $0.withdrawn)
    }
    for group in wire.groups { groups.append(try GroupConfiguration(validating: group)) }
  }

  /// The frame, as it is sent; `number` tells the number of a group, nil: the worker doesn't know it.
  package func wire(number: (GroupKey) -> UInt32?) -> WireCoordinatorFrame {
    var wire = WireCoordinatorFrame()
    wire.grants = grants.map { grant in
      WireGrant.with {
        $0.number = grant.number
        $0.waitedMs = grant.waited.wireMilliseconds
        $0.leaseMs = grant.lease.wireMilliseconds
        $0.attempt = UInt32(clamping: grant.attempt)
      }
    }
    wire.refusals = refusals.map(\.wire)
    wire.answers = answers.map(\.wire)
    wire.shares = shares.compactMap { notice in
      guard let index = number(notice.group) else { return nil }
      return WireShareNotice.with {
        $0.group = index
        $0.share = notice.share.wire
      }
    }
    if let lease { wire.lease = WireLease.with { $0.leaseMs = lease.wireMilliseconds } }
    wire.drains = drains.map { order in
      WireDrain.with {
        $0.order = order.order
        $0.timeoutMs = order.timeout.wireMilliseconds
        $0.withdrawn = order.isWithdrawn
      }
    }
    wire.groups = groups.map(\.wire)
    return wire
  }

  /// Takes the first part out that fits one message.
  package mutating func takePart(entries limit: Int = ProtocolLimits.entries) -> CoordinatorFrame {
    guard count > limit || drains.count > ProtocolLimits.drains else {
      defer { self = CoordinatorFrame() }
      return self
    }
    var part = CoordinatorFrame()
    part.grants = Self.take(&grants, limit)
    part.refusals = Self.take(&refusals, limit)
    part.answers = Self.take(&answers, limit)
    part.shares = Self.take(&shares, limit)
    part.drains = Self.take(&drains, ProtocolLimits.drains)
    part.groups = Self.take(&groups, limit)
    part.lease = lease
    lease = nil
    return part
  }

  private static func take<Element>(_ list: inout [Element], _ limit: Int) -> [Element] {
    let part = Array(list.prefix(limit))
    list.removeFirst(part.count)
    return part
  }
}
