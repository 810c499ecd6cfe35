import KubernetesCore
import KubernetesRuntime
import Observability
import ScalingAPI
import ScalingController
import ScalingDecision
import TestSupport

/// Looks every tenth of a second until `look` gives a value, at most `attempts` times; `what` says in a failure what was
/// waited for.
///
/// For what happens in the background and tells nobody when: events, leases, other processes. The bound is generous,
/// so that a busy machine doesn't fail a test; it only ends one that would hang.
func eventually<Value>(
  _ what: String, attempts: Int = 900, _ look: () async throws -> Value?
) async throws -> Value {
  let time = SystemTimeSource()
  for _ in 0..<attempts {
    if let value = try await look() { return value }
    try await time.sleep(for: .milliseconds(100))
  }
  throw TestFailure("waited in vain for \(what)")
}

extension TestController {
  /// The first pass since `mark` passes that satisfies `predicate`; fails with the last passes when there is none.
  @discardableResult
  func awaitPass(
    _ what: String, since mark: Int = 0, attempts: Int = 900, where predicate: (Pass) -> Bool
  ) async throws -> Pass {
    do {
      return try await eventually(what, attempts: attempts) { all.dropFirst(mark).first(where: predicate) }
    } catch let failure as TestFailure {
      let last = all.suffix(3).map(\.summary).joined(separator: " | ")
      throw TestFailure(
        "\(failure); not ready: \(service.notReadyReason ?? "no"); \(mark)/\(self.mark) passes: \(last)")
    }
  }

  /// Waits until `autoscaler`'s target stands at `replicas` and stays there.
  func awaitSettled(_ autoscaler: String, at replicas: Int, since mark: Int = 0, attempts: Int = 900) async throws {
    try await awaitPass("\(autoscaler) to settle at \(replicas)", since: mark, attempts: attempts) {
      $0.isSettled(autoscaler, at: replicas)
    }
  }

  /// The passes over `autoscaler` since `mark` passes.
  func passes(of autoscaler: String, since mark: Int = 0) -> [Pass] {
    all.dropFirst(mark).filter { $0.autoscaler.metadata.name == autoscaler }
  }

  /// The passes that wrote or failed, a line each, for the comment of an expectation.
  var story: String {
    all.filter { $0.hasWritten || $0.trouble != nil }.map { "\($0.now.rfc3339Micro) \($0.summary)" }
      .joined(separator: "\n")
  }

  /// A counter or gauge with one label, brought up to date.
  func number(_ family: String, _ label: String) -> Int {
    _ = registry.render()
    return registry.value(family, [label]).map { Int($0) } ?? -1
  }
}

extension Pass {
  /// Whether it found `autoscaler`'s target at `replicas` and left it there.
  func isSettled(_ autoscaler: String, at replicas: Int) -> Bool {
    self.autoscaler.metadata.name == autoscaler && trouble == nil && !hasWritten
      && plan?.currentReplicas == replicas && plan?.desiredReplicas == replicas
  }

  /// This pass in one line.
  fileprivate var summary: String {
    let name = autoscaler.metadata.name
    if let trouble { return "\(name): \(trouble.reason) \(trouble.message)" }
    return plan?.logLine(name: name) ?? "\(name): no plan"
  }
}
