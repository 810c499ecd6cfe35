import KubernetesCore

// The order and the places of the findings about fields of autoscaling/v2 are those of its own validation.
extension Validator {
  /// What every target has in common: the type, and positive numbers.
  private mutating func checkTargetCommon(
    _ target: SwarmAutoscaler.MetricTarget?, typeRequired: Bool = true, at path: String
  ) -> SwarmAutoscaler.MetricTarget? {
    guard let target else {
      report(
        .required, path, "the target is missing", fix: "write target: {type: AverageValue, averageValue: \"4\"}")
      return nil
    }
    _ = check(target.type, at: "\(path).type", kind: .invalid, required: typeRequired)
    checkPositive(target.value, at: "\(path).value")
    checkPositive(target.averageValue, at: "\(path).averageValue")
    check(target.averageUtilization, in: 1...(.max), at: "\(path).averageUtilization", unit: "percent")
    return target
  }

  /// CPU or memory: a percentage, a mean, or a band of percent.
  mutating func checkResourceTarget(
    _ target: SwarmAutoscaler.MetricTarget?, _ spec: SwarmAutoscaler.Spec, at path: String
  ) {
    guard let target = checkTargetCommon(target, at: path) else { return }
    if target.isBand {
      checkBand(target, at: path)
      checkPercents(target, spec, at: path)
      return
    }
    switch (target.averageUtilization, target.averageValue) {
    case (nil, nil):
      report(
        .required, "\(path).averageUtilization",
        "a percentage (averageUtilization), a mean (averageValue) or a band (type: Band, lower, upper) is needed",
        fix: "write averageUtilization: 80")
    case (_?, let average?):
      report(
        .forbidden, "\(path).averageValue", value: "\(average)",
        "averageUtilization and averageValue can't both be set", fix: "remove one of them")
    default: break
    }
    checkType(target, at: path)
  }

  /// A number of each worker's own: a mean, or a band of the mean.
  mutating func checkPodsTarget(
    _ target: SwarmAutoscaler.MetricTarget?, typeRequired: Bool = true, at path: String
  ) {
    guard let target = checkTargetCommon(target, typeRequired: typeRequired, at: path) else { return }
    if target.isBand { return checkBand(target, at: path) }
    guard let average = target.averageValue, average > .zero else {
      report(
        .required, "\(path).averageValue", "a positive number per worker is needed",
        fix: "write averageValue: \"4\"")
      return
    }
    if typeRequired { checkType(target, at: path) }
  }

  /// A single number: itself, its share per worker, or a band of the share.
  mutating func checkNumberTarget(_ target: SwarmAutoscaler.MetricTarget?, mayHaveBoth: Bool, at path: String) {
    guard let target = checkTargetCommon(target, at: path) else { return }
    if target.isBand { return checkBand(target, at: path) }
    switch (target.value, target.averageValue) {
    case (nil, nil):
      report(
        .required, "\(path).averageValue", "value (the number itself) or averageValue (per worker) is needed",
        fix: "write averageValue: \"4\"")
    case (let value?, _?) where !mayHaveBoth:
      report(
        .forbidden, "\(path).value", value: "\(value)", "value and averageValue can't both be set",
        fix: "remove one of them")
    default: break
    }
    checkType(target, at: path)
  }

  /// Warns where `type` names another field than the one that is set; as in the HPA, the field decides.
  private mutating func checkType(_ target: SwarmAutoscaler.MetricTarget, at path: String) {
    let field: (name: String, isSet: Bool)
    switch target.type?.known {
    case .utilization: field = ("averageUtilization", target.averageUtilization != nil)
    case .averageValue: field = ("averageValue", target.averageValue != nil)
    case .value: field = ("value", target.value != nil)
    case .band, nil: return
    }
    if !field.isSet {
      advise(
        "\(path).type", value: target.type?.text ?? "",
        "the type names \(field.name), which is not set; the field that is set decides",
        fix: "write the type of the field that is set")
    }
  }

  /// The ends of a band, in any unit.
  private mutating func checkBand(_ target: SwarmAutoscaler.MetricTarget, at path: String) {
    if let type = target.type?.known, type != .band {
      report(
        .invalid, "\(path).type", value: type.rawValue, "lower and upper belong to the type Band",
        fix: "write type: Band")
    }
    for (name, isSet) in [
      ("value", target.value != nil), ("averageValue", target.averageValue != nil),
      ("averageUtilization", target.averageUtilization != nil),
    ] where isSet {
      report(
        .forbidden, "\(path).\(name)", "a band has only lower and upper", fix: "remove it, or remove lower and upper")
    }
    require(target.lower, at: "\(path).lower", "the lower end of the band", fix: "write lower: 70")
    require(target.upper, at: "\(path).upper", "the upper end of the band", fix: "write upper: 85")
    checkPositive(target.lower, at: "\(path).lower")
    checkPositive(target.upper, at: "\(path).upper")
    if let band = target.band, band.lower >= band.upper, band.upper > .zero {
      report(
        .invalid, "\(path).lower", value: "\(band.lower)", "it must be below upper, which is \(band.upper)",
        fix: "write a lower end below \(band.upper), or the type AverageValue or Utilization for a single target")
    }
  }

  /// The ends of a band of percent, and whether every load has a count that fits.
  private mutating func checkPercents(
    _ target: SwarmAutoscaler.MetricTarget, _ spec: SwarmAutoscaler.Spec, at path: String
  ) {
    for (name, end) in [("lower", target.lower), ("upper", target.upper)] {
      guard let end, end > .zero else { continue }
      if Quantity(end.value) != end || end > Quantity(1000) {
        report(
          .invalid, "\(path).\(name)", value: "\(end)", "it must be a whole percentage from 1 to 1000",
          fix: "write a percentage such as \(name == "lower" ? 70 : 85)")
      }
    }
    guard let band = target.band, band.lower > .zero, band.lower < band.upper, band.upper <= Quantity(1000) else {
      return
    }
    // The counts n whose load fits are those with n·lower ≤ load ≤ n·upper. Neighbouring ranges leave no gap
    // from n = lower / (upper − lower) on.
    let lower = band.lower.value
    let width = band.upper.value - lower
    guard width > 0 else { return }
    let first = (lower + width - 1) / width
    let minimum = Int64(max(1, spec.effectiveBounds.min))
    if first > minimum {
      let fitting = minimum * band.upper.value / (minimum + 1)
      advise(
        "\(path).lower", value: "\(lower)",
        "below \(first) workers some loads fit no count in \(lower)-\(band.upper.value) %; "
          + "the smallest count that stays below the upper end is taken then",
        fix: fitting >= 1
          ? "write lower: \(fitting) or less, or minReplicas: \(first) or more"
          : "write minReplicas: \(first) or more")
    }
  }
}

extension SwarmAutoscaler.MetricTarget {
  /// Whether the target is meant as a band.
  var isBand: Bool { type?.known == .band || lower != nil || upper != nil }
}
