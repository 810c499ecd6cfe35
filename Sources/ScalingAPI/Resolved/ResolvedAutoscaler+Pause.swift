extension ResolvedAutoscaler.Pause {
  /// Reads the pause annotations; what can't be read pauses, since whoever wrote it meant to, and is reported.
  static func reading(_ annotations: [String: String]) -> (pause: Self, issues: [FieldIssue]) {
    var pause = Self()
    var issues: [FieldIssue] = []
    func flag(_ name: String) -> Bool {
      guard let text = annotations[name] else { return false }
      switch text.lowercased() {
      case "true": return true
      case "false", "": return false
      default:
        issues.append(
          FieldIssue(
            .invalid, severity: .warning, path: "metadata.annotations[\(name)]", value: text,
            message: "only true and false are understood; it is taken for true", fix: "write \"true\" or \"false\""))
        return true
      }
    }
    pause.isPaused = flag(ScalingGroup.Annotation.paused)
    pause.isScaleUpPaused = flag(ScalingGroup.Annotation.pausedScaleUp)
    pause.isScaleDownPaused = flag(ScalingGroup.Annotation.pausedScaleDown)
    let name = ScalingGroup.Annotation.pausedReplicas
    if let text = annotations[name], !text.isEmpty {
      if let count = Int32(text), count >= 0 {
        pause.replicas = count
      } else {
        pause.isPaused = true
        issues.append(
          FieldIssue(
            .invalid, severity: .warning, path: "metadata.annotations[\(name)]", value: text,
            message: "a whole number of at least 0 is needed; the autoscaler is paused at its present count",
            fix: "write a count in quotes, such as \"20\""))
      }
    }
    for key in annotations.keys.sorted() {
      guard key.hasPrefix("\(ScalingGroup.name)/pause"), !ScalingGroup.Annotation.all.contains(key) else { continue }
      let fix =
        closestText(to: key, in: ScalingGroup.Annotation.all).map { "write \($0)" } ?? "remove the annotation"
      issues.append(
        FieldIssue(
          .unknownField, severity: .warning, path: "metadata.annotations[\(key)]", value: annotations[key] ?? "",
          message: "there is no such annotation, so it pauses nothing", fix: fix))
    }
    return (pause, issues)
  }
}
