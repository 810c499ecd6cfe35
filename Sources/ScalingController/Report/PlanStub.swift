import ScalingDecision
extension Plan {
  func logLine(name: String) -> String { "scaled \(name) \(currentReplicas)→\(desiredReplicas)" }
  var eventMessage: String { "\(bindingStep.rawValue)" }
}
