package import KubernetesCore

/// Something that keeps one autoscaler from being served, in the words of conditions and events.
///
/// A trouble ends the pass for that object only; the others go on. It is told once when it appears and once when it
/// changes, not every 15 seconds (kubernetes/kubernetes#29799).
package struct Trouble: Error, Hashable, Sendable {
  /// The condition that it makes false.
  package enum Condition: String, Hashable, Sendable {
    /// The scale can't be read or written.
    case ableToScale = "AbleToScale"
    /// The metrics can't be read.
    case scalingActive = "ScalingActive"
    /// The spec can't be used.
    case valid = "Valid"
  }

  /// When to look again.
  package enum Retry: Hashable, Sendable {
    /// At the next sync period: only a change by somebody else helps.
    case nextSync
    /// Soon, with back-off: the server or the network is in trouble.
    case backOff(after: Duration?)
  }

  /// The condition that it makes false.
  package var condition: Condition
  /// The machine-readable reason, in camel case.
  package var reason: String
  /// What is wrong and what to do.
  package var message: String
  /// When to look again.
  package var retry: Retry

  /// Describes a trouble.
  package init(_ condition: Condition, _ reason: String, _ message: String, retry: Retry = .nextSync) {
    self.condition = condition
    self.reason = reason
    self.message = message
    self.retry = retry
  }

  /// Describes a failed request.
  package init(_ condition: Condition, _ reason: String, _ prefix: String, _ error: KubernetesError) {
    let retry: Retry =
      switch error.disposition {
      case .retry(let after): .backOff(after: after)
      case .reread, .relist: .backOff(after: nil)
      case .terminal: .nextSync
      }
    self.init(condition, reason, "\(prefix): \(error.message)", retry: retry)
  }
}
