package import RateBudget
import SwiftProtobuf

extension WorkerIdentity {
  init(validating wire: WireIdentity) throws(ProtocolViolation) {
    try Check.name(wire.namespace, "identity.namespace")
    try Check.name(wire.pod, "identity.pod")
    try Check.name(wire.uid, "identity.uid", mayBeEmpty: true)
    try Check.name(wire.fleet, "identity.fleet", mayBeEmpty: true)
    try Check.string(wire.kind, "identity.kind", limit: ProtocolLimits.labelBytes)
    try Check.name(wire.incarnation, "identity.incarnation")
    self.init(
      namespace: wire.namespace, pod: wire.pod, uid: wire.uid, fleet: wire.fleet, kind: wire.kind,
      incarnation: wire.incarnation)
  }

  var wire: WireIdentity {
    WireIdentity.with {
      $0.namespace = namespace
      $0.pod = pod
      $0.uid = uid
      $0.fleet = fleet
      $0.kind = Check.safe(kind, limit: ProtocolLimits.labelBytes)
      $0.incarnation = incarnation
    }
  }
}

extension WorkerHello {
  /// Reads the first message of a stream.
  package init(validating wire: WireHello, table: inout GroupTable, now: BudgetTime) throws(ProtocolViolation) {
    guard wire.protocolVersion == ProtocolLimits.version else { throw .version(wire.protocolVersion) }
    guard wire.hasIdentity else { throw .missing("hello.identity") }
    let identity = try WorkerIdentity(validating: wire.identity)
    try Check.count(wire.capabilities.count, "hello.capabilities", limit: ProtocolLimits.capabilities)
    for capability in wire.capabilities {
      try Check.string(capability, "hello.capabilities", limit: ProtocolLimits.labelBytes)
    }
    try Check.count(wire.groups.count, "hello.groups", limit: ProtocolLimits.groups)
    let outstanding = wire.groups.reduce(0) { $0 + $1.outstanding.count }
    try Check.count(outstanding, "hello.groups.outstanding", limit: ProtocolLimits.outstanding)
    var groups: [GroupMemory] = []
    for memory in wire.groups {
      guard memory.hasGroup else { throw .missing("hello.groups.group") }
      var read = GroupMemory(key: try table.define(memory.group))
      if memory.hasShare { read.share = try Share(validating: memory.share) }
      for grant in memory.outstanding {
        guard grant.hasRequest else { throw .missing("hello.groups.outstanding.request") }
        let request = try GrantRequest(validating: grant.request, identity: identity, now: now)
        read.outstanding.append(
          AdoptedGrant(request: request, age: Check.duration(grant.ageMs), output: max(0, grant.output)))
      }
      if memory.hasUsed { read.used = PerDimension<Int64?>(memory.used).map { $0 ?? 0 } }
      groups.append(read)
    }
    var drain: StandingDrain?
    if wire.hasDrain, let state = DrainState(wire.drain.state) {
      drain = StandingDrain(order: wire.drain.order, age: Check.duration(wire.drain.ageMs), state: state)
    }
    self.init(
      identity: identity, capabilities: wire.capabilities, groups: groups,
      activity: wire.hasActivity ? WorkerActivity(wire.activity) : nil, drain: drain)
  }

  /// The message, as it is sent; groups get their numbers. Grants beyond the bound are left out, the youngest first:
  /// they expire upstream of the coordinator's memory.
  package func wire(numbers: inout GroupNumbers, now: BudgetTime) -> WireHello {
    var room = ProtocolLimits.outstanding
    return WireHello.with { hello in
      hello.protocolVersion = ProtocolLimits.version
      hello.identity = identity.wire
      hello.capabilities = Array(capabilities.prefix(ProtocolLimits.capabilities))
      for memory in groups.prefix(ProtocolLimits.groups) {
        guard let number = numbers.define(memory.key) else { continue }
        let grants = memory.outstanding.prefix(room)
        room -= grants.count
        hello.groups.append(
          WireGroupMemory.with { wire in
            wire.group.index = number
            wire.group.key = memory.key.wire
            if let share = memory.share { wire.share = share.wire }
            if let used = memory.used { wire.used = used.map { Int64?($0) }.wire }
            wire.outstanding = grants.map { grant in
              WireOutstandingGrant.with {
                $0.request = grant.request.wire(group: number, now: now)
                $0.ageMs = grant.age.wireMilliseconds
                $0.output = grant.output
              }
            }
          })
      }
      if let activity { hello.activity = activity.wire }
      if let drain {
        hello.drain = WireStandingDrain.with {
          $0.order = drain.order
          $0.ageMs = drain.age.wireMilliseconds
          $0.state = drain.state.wire
        }
      }
    }
  }
}

extension GrantRequest {
  init(validating wire: WireGrantRequest, identity: WorkerIdentity, now: BudgetTime) throws(ProtocolViolation) {
    try Check.number(wire.number)
    try Check.string(wire.model, "request.model", limit: ProtocolLimits.labelBytes)
    try Check.string(wire.kind, "request.kind", limit: ProtocolLimits.labelBytes)
    let priority: Priority? =
      switch wire.priority {
      case .interactive: .interactive
      case .high: .high
      case .normal: .normal
      case .low: .low
      case .unspecified, .UNRECOGNIZED: nil
      }
    self.init(
      id: GrantID(client: identity.client, number: wire.number), fleet: identity.fleetName, priority: priority,
      estimate: Estimate(
        input: wire.input, inputTotal: wire.inputTotal, expectedOutput: wire.expectedOutput, maxOutput: wire.maxOutput),
      deadline: now + Check.duration(wire.deadlineMs), model: wire.model,
      kind: wire.kind.isEmpty ? identity.kind : wire.kind)
  }

  func wire(group: UInt32, now: BudgetTime) -> WireGrantRequest {
    WireGrantRequest.with {
      $0.number = id.number
      $0.group = group
      $0.priority =
        switch priority {
        case .interactive: .interactive
        case .high: .high
        case .normal: .normal
        case .low: .low
        case nil: .unspecified
        }
      $0.input = estimate.input
      $0.inputTotal = estimate.inputTotal
      $0.expectedOutput = estimate.expectedOutput
      $0.maxOutput = estimate.maxOutput
      $0.deadlineMs = max(0, (deadline - now).wireMilliseconds)
      $0.model = Check.safe(model, limit: ProtocolLimits.labelBytes)
      $0.kind = Check.safe(kind, limit: ProtocolLimits.labelBytes)
    }
  }
}
