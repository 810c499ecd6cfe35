/// The API server's validation of a new HorizontalPodAutoscaler.
///
/// Source: `pkg/apis/autoscaling/validation/validation.go`, with the options that a create takes
/// (`pkg/registry/autoscaling/horizontalpodautoscaler/strategy.go`). Metadata and status are not looked at.
package enum HPAValidation {
  /// One finding: the API machinery's field path and type of error.
  package struct Problem: Hashable, Sendable {
    /// The type of an error (`field.ErrorType`).
    package enum ErrorType: String, Hashable, Sendable {
      /// A value is missing.
      case required = "FieldValueRequired"
      /// A value is malformed or out of range.
      case invalid = "FieldValueInvalid"
      /// A value may not stand here.
      case forbidden = "FieldValueForbidden"
      /// A value is not in the list of known ones.
      case notSupported = "FieldValueNotSupported"
    }

    /// The field, for example `spec.metrics[0].type`.
    package var field: String
    /// The type of error.
    package var type: ErrorType

    init(_ field: String, _ type: ErrorType) {
      self.field = field
      self.type = type
    }
  }

  /// The longest period of a policy (`MaxPeriodSeconds`).
  static let maxPeriodSeconds: Int32 = 1800
  /// The longest stabilization window (`MaxStabilizationWindowSeconds`).
  static let maxStabilizationWindowSeconds: Int32 = 3600

  /// What is wrong with `spec`, which must have its defaults filled in; in the order of the original
  /// (`validateHorizontalPodAutoscalerSpec`). A problem can be there twice.
  package static func problems(in spec: HPASpec, scaleToZeroEnabled: Bool = false) -> [Problem] {
    var problems: [Problem] = []
    let lowerBound: Int32 = scaleToZeroEnabled ? 0 : 1
    if let minReplicas = spec.minReplicas, minReplicas < lowerBound {
      problems.append(Problem("spec.minReplicas", .invalid))
    }
    if spec.maxReplicas == 0 {
      problems.append(Problem("spec.maxReplicas", .required))
    } else if spec.maxReplicas < 0 {
      problems.append(Problem("spec.maxReplicas", .invalid))
    }
    if let minReplicas = spec.minReplicas, spec.maxReplicas < minReplicas {
      problems.append(Problem("spec.maxReplicas", .invalid))
    }
    // ReplicationController is the one scalable kind of the core group, which has no name.
    problems += reference(
      spec.scaleTargetRef, at: "spec.scaleTargetRef",
      allowsEmptyGroup: spec.scaleTargetRef.kind == "ReplicationController")
    problems += metrics(spec.metrics ?? [], minReplicas: spec.minReplicas)
    for (rules, path) in [
      (spec.behavior?.scaleUp, "spec.behavior.scaleUp"), (spec.behavior?.scaleDown, "spec.behavior.scaleDown"),
    ] {
      if let rules { problems += scalingRules(rules, at: path) }
    }
    return problems
  }

  /// `ValidateCrossVersionObjectReference` with `ValidateAPIVersion`.
  static func reference(
    _ reference: HPAObjectReference, at path: String, allowsEmptyGroup: Bool
  ) -> [Problem] {
    var problems: [Problem] = []
    for (text, field) in [(reference.kind, "\(path).kind"), (reference.name, "\(path).name")] {
      if text.isEmpty {
        problems.append(Problem(field, .required))
      } else {
        problems += repeated(Problem(field, .invalid), LabelSyntax.pathSegmentProblems(text))
      }
    }
    let group = HPAGroupVersion(reference.apiVersion ?? "")?.group
    if group == nil || (group == "" && !allowsEmptyGroup) {
      problems.append(Problem("\(path).apiVersion", .invalid))
    }
    return problems
  }

  /// `validateScalingRules`.
  private static func scalingRules(_ rules: HPAScalingRules, at path: String) -> [Problem] {
    var problems: [Problem] = []
    if let window = rules.stabilizationWindowSeconds, !(0...maxStabilizationWindowSeconds ~= window) {
      problems.append(Problem("\(path).stabilizationWindowSeconds", .invalid))
    }
    if let select = rules.selectPolicy, ![.max, .min, .disabled].contains(select) {
      problems.append(Problem("\(path).selectPolicy", .notSupported))
    }
    if rules.policies?.isEmpty ?? true {
      problems.append(Problem("\(path).policies", .required))
    }
    for (index, policy) in (rules.policies ?? []).enumerated() {
      problems += scalingPolicy(policy, at: "\(path).policies[\(index)]")
    }
    if let tolerance = rules.tolerance, tolerance.signum < 0 {
      problems.append(Problem("\(path).tolerance", .invalid))
    }
    return problems
  }

  /// `validateScalingPolicy`.
  private static func scalingPolicy(_ policy: HPAScalingPolicy, at path: String) -> [Problem] {
    var problems: [Problem] = []
    if policy.type != .pods && policy.type != .percent {
      problems.append(Problem("\(path).type", .notSupported))
    }
    if policy.value <= 0 {
      problems.append(Problem("\(path).value", .invalid))
    }
    if !(1...maxPeriodSeconds ~= policy.periodSeconds) {
      problems.append(Problem("\(path).periodSeconds", .invalid))
    }
    return problems
  }

  static func repeated(_ problem: Problem, _ count: Int) -> [Problem] {
    Array(repeating: problem, count: count)
  }
}

/// A group and version as `apiVersion` writes them (`schema.ParseGroupVersion`).
struct HPAGroupVersion: Hashable, Sendable {
  var group: String
  var version: String

  /// Reads `group/version` or `version`; nil where there is more than one slash.
  init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    switch (text, parts.count) {
    case ("", _), ("/", _): (group, version) = ("", "")
    case (_, 1): (group, version) = ("", text)
    case (_, 2): (group, version) = (parts[0], parts[1])
    default: return nil
    }
  }
}
