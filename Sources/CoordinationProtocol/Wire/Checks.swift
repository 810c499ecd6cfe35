package import RateBudget
import SwiftProtobuf

/// What a receiver knows of the groups of one stream.
package struct GroupTable: Hashable, Sendable {
  private var keys: [UInt32: GroupKey] = [:]

  /// Nothing yet.
  package init() {}

  /// The group of a number.
  package func key(_ index: UInt32) throws(ProtocolViolation) -> GroupKey {
    guard let key = keys[index] else { throw .unknownGroup(index) }
    return key
  }

  /// The least number of a group; nil: it has none.
  package func number(of key: GroupKey) -> UInt32? {
    keys.filter { $0.value == key }.keys.min()
  }

  mutating func define(_ definition: WireGroupDefinition) throws(ProtocolViolation) -> GroupKey {
    guard keys[definition.index] == nil else { throw .groupTwice(definition.index) }
    guard keys.count < ProtocolLimits.groups else {
      throw .tooMany("groups", count: keys.count + 1, limit: ProtocolLimits.groups)
    }
    let key = try GroupKey(validating: definition.key)
    keys[definition.index] = key
    return key
  }
}

/// What a sender has said of groups on one stream.
package struct GroupNumbers: Hashable, Sendable {
  private var numbers: [GroupKey: UInt32] = [:]

  /// Nothing yet.
  package init() {}

  /// The number of a group; nil: it isn't defined yet.
  package func number(of key: GroupKey) -> UInt32? { numbers[key] }

  /// The group of a number; nil: none has it.
  package func key(of number: UInt32) -> GroupKey? {
    numbers.first { $0.value == number }?.key
  }

  /// Gives a group the next number; nil when it has one already.
  package mutating func define(_ key: GroupKey) -> UInt32? {
    guard numbers[key] == nil else { return nil }
    let number = UInt32(numbers.count + 1)
    numbers[key] = number
    return number
  }
}

/// Checks of single values, and their safe forms.
enum Check {
  /// A string within its bound.
  static func string(_ value: String, _ field: String, limit: Int = ProtocolLimits.nameBytes) throws(ProtocolViolation)
  {
    guard value.utf8.count <= limit else { throw .tooLong(field, bytes: value.utf8.count, limit: limit) }
    guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { throw .badName(field) }
  }

  /// A part of a client's or fleet's name: no separator in it.
  static func name(_ value: String, _ field: String, mayBeEmpty: Bool = false) throws(ProtocolViolation) {
    try string(value, field)
    guard mayBeEmpty || !value.isEmpty, !value.utf8.contains(UInt8(ascii: "/")) else { throw .badName(field) }
  }

  /// A list within its bound.
  static func count(_ count: Int, _ field: String, limit: Int = ProtocolLimits.entries) throws(ProtocolViolation) {
    guard count <= limit else { throw .tooMany(field, count: count, limit: limit) }
  }

  /// A request's number.
  static func number(_ number: UInt64) throws(ProtocolViolation) {
    guard number > 0 else { throw .zeroNumber }
  }

  /// A duration, held between nothing and a week.
  static func duration(_ milliseconds: Int64) -> Duration {
    .milliseconds(min(max(milliseconds, 0), ProtocolLimits.durationMilliseconds))
  }

  /// A text that is surely within its bound: cut, and without control characters.
  static func safe(_ text: String, limit: Int) -> String {
    let isFine = text.utf8.count <= limit && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
    guard !isFine else { return text }
    var result = ""
    var bytes = 0
    for scalar in text.unicodeScalars where scalar.value >= 0x20 && scalar.value != 0x7f {
      bytes += String(scalar).utf8.count
      guard bytes <= limit else { break }
      result.unicodeScalars.append(scalar)
    }
    return result
  }
}

extension Duration {
  /// Whole milliseconds, rounded up, so that a lease is never told shorter and a pause never ends early.
  var wireMilliseconds: Int64 {
    let nanoseconds = wholeNanoseconds
    return nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 > 0 ? 1 : 0)
  }
}

extension GroupKey {
  init(validating wire: WireGroupKey) throws(ProtocolViolation) {
    try Check.string(wire.organization, "group.organization")
    try Check.string(wire.workspace, "group.workspace")
    try Check.string(wire.modelGroup, "group.model_group")
    try Check.string(wire.speed, "group.speed", limit: ProtocolLimits.labelBytes)
    guard !wire.modelGroup.isEmpty else { throw .missing("group.model_group") }
    self.init(
      organization: wire.organization, workspace: wire.workspace, modelGroup: wire.modelGroup, speed: wire.speed)
  }

  var wire: WireGroupKey {
    WireGroupKey.with {
      $0.organization = Check.safe(organization, limit: ProtocolLimits.nameBytes)
      $0.workspace = Check.safe(workspace, limit: ProtocolLimits.nameBytes)
      $0.modelGroup = Check.safe(modelGroup, limit: ProtocolLimits.nameBytes)
      $0.speed = Check.safe(speed, limit: ProtocolLimits.labelBytes)
    }
  }
}

extension PerDimension where Value == Int64? {
  init(_ wire: WireAmounts) {
    self.init(
      requests: wire.hasRequests ? max(0, wire.requests) : nil,
      inputTokens: wire.hasInputTokens ? max(0, wire.inputTokens) : nil,
      inputTokensTotal: wire.hasInputTokensTotal ? max(0, wire.inputTokensTotal) : nil,
      outputTokens: wire.hasOutputTokens ? max(0, wire.outputTokens) : nil)
  }

  var wire: WireAmounts {
    WireAmounts.with {
      if let requests { $0.requests = requests }
      if let inputTokens { $0.inputTokens = inputTokens }
      if let inputTokensTotal { $0.inputTokensTotal = inputTokensTotal }
      if let outputTokens { $0.outputTokens = outputTokens }
    }
  }
}

extension Share {
  /// Reads a share; a dimension that isn't named isn't limited.
  init(validating wire: WireShare) throws(ProtocolViolation) {
    guard wire.hasRates else { throw .missing("share.rates") }
    guard wire.hasFloor else { throw .missing("share.floor") }
    self.init(
      rates: PerDimension<Int64?>(wire.rates).map { $0 ?? .max },
      floor: PerDimension<Int64?>(wire.floor).map { $0 ?? .max },
      lease: Check.duration(wire.leaseMs), decay: Check.duration(wire.decayMs))
  }

  var wire: WireShare {
    WireShare.with {
      $0.rates = rates.map { $0 == .max ? nil : $0 }.wire
      $0.floor = floor.map { $0 == .max ? nil : $0 }.wire
      $0.leaseMs = lease.wireMilliseconds
      $0.decayMs = decay.wireMilliseconds
    }
  }
}

extension WorkerActivity {
  init(_ wire: WireActivity) {
    self.init(
      slots: Int(wire.slots), busy: Int(wire.busy), inFlight: Int(wire.inFlight), waiting: Int(wire.waiting),
      oldestAge: Check.duration(wire.oldestAgeMs), queued: Int(wire.queued), completed: wire.completed,
      unsavedAge: wire.hasUnsavedAgeMs ? Check.duration(wire.unsavedAgeMs) : nil,
      queues: wire.queues.prefix(ProtocolLimits.queues).filter { $0.queue.utf8.count <= ProtocolLimits.labelBytes }.map
      {
        QueueDepth(queue: $0.queue, waiting: Int($0.waiting), age: Check.duration($0.ageMs))
      })
  }

  var wire: WireActivity {
    WireActivity.with {
      $0.slots = UInt32(clamping: slots)
      $0.busy = UInt32(clamping: busy)
      $0.inFlight = UInt32(clamping: inFlight)
      $0.waiting = UInt32(clamping: waiting)
      $0.oldestAgeMs = oldestAge.wireMilliseconds
      $0.queued = UInt32(clamping: queued)
      $0.completed = completed
      if let unsavedAge { $0.unsavedAgeMs = unsavedAge.wireMilliseconds }
      $0.queues = queues.prefix(ProtocolLimits.queues).map { depth in
        WireQueueDepth.with {
          $0.queue = depth.queue
          $0.waiting = UInt32(clamping: depth.waiting)
          $0.ageMs = depth.age.wireMilliseconds
        }
      }
    }
  }
}
