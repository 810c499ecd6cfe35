extension HPAValidation {
  /// `validateMetrics`: each entry, then the rule that only Object and External metrics can wake from zero.
  static func metrics(_ metrics: [HPAMetricSpec], minReplicas: Int32?) -> [Problem] {
    var problems = metrics.enumerated().flatMap { metric($1, at: "spec.metrics[\($0)]") }
    if minReplicas == 0, !metrics.contains(where: { $0.type == .object || $0.type == .external }) {
      problems.append(Problem("spec.metrics", .forbidden))
    }
    return problems
  }

  /// `validateMetricSpec`: the type, the first source that is there, and that no other is.
  private static func metric(_ metric: HPAMetricSpec, at path: String) -> [Problem] {
    var problems: [Problem] = []
    let expected: [HPAMetricSourceType: String] = [
      .object: "object", .pods: "pods", .resource: "resource", .external: "external",
      .containerResource: "containerResource",
    ]
    if metric.type.rawValue.isEmpty {
      problems.append(Problem("\(path).type", .required))
    }
    if expected[metric.type] == nil {
      problems.append(Problem("\(path).type", .notSupported))
    }
    // Only the first source found is looked into, in this order.
    let sources: [(name: String, problems: [Problem]?)] = [
      ("object", metric.object.map { object($0, at: "\(path).object") }),
      ("external", metric.external.map { external($0, at: "\(path).external") }),
      ("pods", metric.pods.map { pods($0, at: "\(path).pods") }),
      ("resource", metric.resource.map { resource($0, at: "\(path).resource", isContainer: false) }),
      (
        "containerResource",
        metric.containerResource.map { resource($0, at: "\(path).containerResource", isContainer: true) }
      ),
    ]
    let present = sources.filter { $0.problems != nil }
    problems += present.first?.problems ?? []
    if let field = expected[metric.type] {
      if !present.contains(where: { $0.name == field }) {
        problems.append(Problem("\(path).\(field)", .required))
      }
    } else {
      problems.append(Problem("\(path).type", .notSupported))
    }
    if present.count != 1 {
      for source in present where source.name != expected[metric.type] {
        problems.append(Problem("\(path).\(source.name)", .forbidden))
      }
    }
    return problems
  }

  /// `validateObjectSource`.
  private static func object(_ source: HPAObjectSource, at path: String) -> [Problem] {
    var problems = reference(source.describedObject, at: "\(path).describedObject", allowsEmptyGroup: true)
    problems += identifier(source.metric, at: "\(path).metric")
    problems += target(source.target, at: "\(path).target")
    if source.target.value == nil && source.target.averageValue == nil {
      problems.append(Problem("\(path).target.averageValue", .required))
    }
    return problems
  }

  /// `validateExternalSource`.
  private static func external(_ source: HPANamedMetricSource, at path: String) -> [Problem] {
    var problems = identifier(source.metric, at: "\(path).metric")
    problems += target(source.target, at: "\(path).target")
    switch (source.target.value, source.target.averageValue) {
    case (nil, nil): problems.append(Problem("\(path).target.averageValue", .required))
    case (.some, .some): problems.append(Problem("\(path).target.value", .forbidden))
    default: break
    }
    return problems
  }

  /// `validatePodsSource`.
  private static func pods(_ source: HPANamedMetricSource, at path: String) -> [Problem] {
    var problems = identifier(source.metric, at: "\(path).metric")
    problems += target(source.target, at: "\(path).target")
    if source.target.averageValue == nil {
      problems.append(Problem("\(path).target.averageValue", .required))
    }
    return problems
  }

  /// `validateResourceSource` and `validateContainerResourceSource`.
  private static func resource(_ source: HPAResourceSource, at path: String, isContainer: Bool) -> [Problem] {
    var problems: [Problem] = []
    if source.name.isEmpty {
      problems.append(Problem("\(path).name", .required))
    } else if isContainer {
      problems += repeated(Problem("\(path).name", .invalid), containerResourceNameProblems(source.name))
    }
    if isContainer {
      let container = source.container ?? ""
      problems +=
        container.isEmpty
        ? [Problem("\(path).container", .required)]
        : repeated(Problem("\(path).container", .invalid), LabelSyntax.dns1123LabelProblems(container))
    }
    problems += target(source.target, at: "\(path).target")
    switch (source.target.averageUtilization, source.target.averageValue) {
    case (nil, nil): problems.append(Problem("\(path).target.averageUtilization", .required))
    case (.some, .some): problems.append(Problem("\(path).target.averageValue", .forbidden))
    default: break
    }
    return problems
  }

  /// `validateMetricTarget`.
  private static func target(_ target: HPAMetricTarget, at path: String) -> [Problem] {
    var problems: [Problem] = []
    if target.type.rawValue.isEmpty {
      problems.append(Problem("\(path).type", .required))
    }
    if ![.utilization, .value, .averageValue].contains(target.type) {
      problems.append(Problem("\(path).type", .invalid))
    }
    if let value = target.value, value.signum != 1 {
      problems.append(Problem("\(path).value", .invalid))
    }
    if let averageValue = target.averageValue, averageValue.signum != 1 {
      problems.append(Problem("\(path).averageValue", .invalid))
    }
    if let averageUtilization = target.averageUtilization, averageUtilization < 1 {
      problems.append(Problem("\(path).averageUtilization", .invalid))
    }
    return problems
  }

  /// `validateMetricIdentifier`.
  private static func identifier(_ identifier: HPAMetricIdentifier, at path: String) -> [Problem] {
    identifier.name.isEmpty
      ? [Problem("\(path).name", .required)]
      : repeated(Problem("\(path).name", .invalid), LabelSyntax.pathSegmentProblems(identifier.name))
  }

  /// The number of errors of `ValidateContainerResourceName` (`pkg/apis/core/validation/validation.go`).
  private static func containerResourceNameProblems(_ name: String) -> Int {
    let malformed = LabelSyntax.qualifiedNameProblems(name)
    let isQualified = name.contains("/")
    if isQualified {
      let isNative = name.contains("kubernetes.io/")
      let isExtended =
        !isNative && !name.hasPrefix("requests.") && LabelSyntax.qualifiedNameProblems("requests.\(name)") == 0
      return malformed + (isNative || isExtended ? 0 : 1)
    }
    let containerNames: Set = ["cpu", "memory", "ephemeral-storage"]
    let quotaNames: Set = [
      "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory",
      "limits.ephemeral-storage", "pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
      "configmaps", "persistentvolumeclaims", "requests.storage", "storage", "services.nodeports",
      "services.loadbalancers",
    ]
    let isContainerResource = containerNames.contains(name) || name.hasPrefix("hugepages-")
    let isStandard = isContainerResource || quotaNames.contains(name) || name.hasPrefix("requests.hugepages-")
    // The generic check of the name comes first, and a malformed one is reported without it.
    let generic = malformed > 0 ? malformed : (isStandard ? 0 : 1)
    return generic + (isContainerResource ? 0 : 1)
  }
}
