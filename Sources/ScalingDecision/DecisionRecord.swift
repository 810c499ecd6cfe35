package import KubernetesCore

/// One decision with everything that it was made from: a line of the decision log.
///
/// Replaying `spec`, `stateBefore` and `input` gives `plan` again, bit for bit, on every machine: nothing else goes into
/// a decision. docs/decision-log.md describes the JSON.
package struct DecisionRecord: Hashable, Sendable {
  /// The version of the format that this code writes.
  package static let currentVersion = 1

  /// The version of the program that decided; it isn't compared.
  package var program: String
  /// The autoscaler's namespace.
  package var namespace: String
  /// The autoscaler's name.
  package var name: String
  /// What the user asked for, compiled.
  package var spec: DecisionSpec
  /// What was remembered before the decision.
  package var stateBefore: DecisionState
  /// What was observed.
  package var input: DecisionInput
  /// What was decided; `plan.state` is remembered if its write succeeds.
  package var plan: Plan

  /// Makes a record.
  package init(
    program: String, namespace: String, name: String, spec: DecisionSpec, stateBefore: DecisionState,
    input: DecisionInput, plan: Plan
  ) {
    self.program = program
    self.namespace = namespace
    self.name = name
    self.spec = spec
    self.stateBefore = stateBefore
    self.input = input
    self.plan = plan
  }

  /// `namespace/name`.
  package var autoscaler: String { "\(namespace)/\(name)" }

  /// Decides again from the recorded inputs.
  package func replayed() -> Plan { ScalingDecision.decide(spec, stateBefore, input) }
}

/// Where a replayed plan differs from the recorded one.
package struct PlanDifference: Hashable, Sendable {
  /// The field, such as `plan.proposals[0].outcome.wants`.
  package var path: String
  /// Its recorded value as JSON; nil: the field is absent.
  package var recorded: String?
  /// Its replayed value as JSON; nil: the field is absent.
  package var replayed: String?
}

extension DecisionRecord {
  /// The record as one line of JSON with its newline; equal records give equal bytes.
  package func line() throws(KubernetesError) -> [UInt8] {
    var bytes = try KubernetesJSON.encode(self)
    bytes.append(UInt8(ascii: "\n"))
    return bytes
  }

  /// Reads a line; throws what is wrong with it.
  package init(line: some Collection<UInt8>) throws(KubernetesError) {
    self = try KubernetesJSON.decode(DecisionRecord.self, from: line)
  }

  /// The first difference between the recorded plan and `other`, in the order of the plan's fields; nil: none.
  package func firstDifference(from other: Plan) throws(KubernetesError) -> PlanDifference? {
    guard plan != other else { return nil }
    // Reading a state puts impossible numbers right; the comparison must not take that for a difference.
    let other = try KubernetesJSON.decode(Plan.self, from: KubernetesJSON.encode(other))
    guard plan != other else { return nil }
    let recorded = try KubernetesJSON.value(of: plan)
    let replayed = try KubernetesJSON.value(of: other)
    if let found = Self.difference(recorded, replayed, at: "plan") { return found }
    return PlanDifference(path: "plan", recorded: "\(plan)", replayed: "\(other)")
  }

  private static func difference(_ lhs: JSONValue?, _ rhs: JSONValue?, at path: String) -> PlanDifference? {
    if lhs == rhs { return nil }
    switch (lhs, rhs) {
    case (.object(let left)?, .object(let right)?):
      let keys = Set(left.keys).union(right.keys).sorted { (order($0), $0) < (order($1), $1) }
      for key in keys {
        if let found = difference(left[key], right[key], at: "\(path).\(key)") { return found }
      }
    case (.array(let left)?, .array(let right)?):
      for index in 0..<max(left.count, right.count) {
        let (one, other) = (
          left.indices.contains(index) ? left[index] : nil, right.indices.contains(index) ? right[index] : nil
        )
        if let found = difference(one, other, at: "\(path)[\(index)]") { return found }
      }
    default: break
    }
    return PlanDifference(path: path, recorded: text(lhs), replayed: text(rhs))
  }

  /// What people look for first comes first: what was written, then what was wanted, then why.
  private static func order(_ key: String) -> Int {
    ["write", "intendedWrite", "desiredReplicas", "bindingStep", "proposals", "reasons", "victims", "orders", "state"]
      .firstIndex(of: key) ?? 100
  }

  private static func text(_ value: JSONValue?) -> String? {
    guard let value else { return nil }
    guard let bytes = try? KubernetesJSON.encode(value) else { return "\(value)" }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension DecisionRecord: Codable {
  private enum CodingKeys: String, CodingKey {
    case version, program, time, namespace, name, spec, stateBefore, input, plan
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let version = try container.decode(Int.self, forKey: .version)
    guard version == Self.currentVersion else {
      throw DecodingError.dataCorruptedError(
        forKey: .version, in: container,
        debugDescription: "a record of version \(version); this program reads version \(Self.currentVersion)")
    }
    self.init(
      program: try container.decodeIfPresent(String.self, forKey: .program) ?? "",
      namespace: try container.decode(String.self, forKey: .namespace),
      name: try container.decode(String.self, forKey: .name),
      spec: try container.decode(DecisionSpec.self, forKey: .spec),
      stateBefore: try container.decode(DecisionState.self, forKey: .stateBefore),
      input: try container.decode(DecisionInput.self, forKey: .input),
      plan: try container.decode(Plan.self, forKey: .plan))
  }

  /// `time` repeats `input.now` for readers of the log; it isn't read back.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(Self.currentVersion, forKey: .version)
    try container.encode(program, forKey: .program)
    try container.encode(input.now, forKey: .time)
    try container.encode(namespace, forKey: .namespace)
    try container.encode(name, forKey: .name)
    try container.encode(spec, forKey: .spec)
    try container.encode(stateBefore, forKey: .stateBefore)
    try container.encode(input, forKey: .input)
    try container.encode(plan, forKey: .plan)
  }
}
