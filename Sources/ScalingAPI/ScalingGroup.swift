/// The API group of the custom resources and the names that belong to it.
package enum ScalingGroup {
  /// The group.
  package static let name = "swarmscale.dev"
  /// The version served.
  package static let version = "v1alpha1"

  /// The name of the container that embeds the worker side into a pod.
  package static let sidecarContainer = "swarmscale-sidecar"

  /// Annotations by which people steer an autoscaler for a while.
  package enum Annotation {
    /// `"true"`: neither grow nor shrink.
    package static let paused = "swarmscale.dev/paused"
    /// `"true"`: don't grow.
    package static let pausedScaleUp = "swarmscale.dev/paused-scale-up"
    /// `"true"`: don't shrink.
    package static let pausedScaleDown = "swarmscale.dev/paused-scale-down"
    /// A whole number: go to this count and stay there.
    package static let pausedReplicas = "swarmscale.dev/paused-replicas"
    /// All of them.
    package static let all = [paused, pausedScaleUp, pausedScaleDown, pausedReplicas]
  }

  /// Types of conditions; the first three are the HPA's.
  package enum ConditionType {
    /// Whether the scale can be read and written.
    package static let ableToScale = "AbleToScale"
    /// Whether the metrics can be read.
    package static let scalingActive = "ScalingActive"
    /// Whether bounds or policies keep the count from what the metrics want.
    package static let scalingLimited = "ScalingLimited"
    /// Whether an API budget keeps the count from what the metrics want.
    package static let apiBudgetLimited = "APIBudgetLimited"
    /// Whether somebody else keeps changing the count.
    package static let contestedReplicas = "ContestedReplicas"
    /// Whether pods lack the sidecar that the spec asks for.
    package static let embedMissing = "EmbedMissing"
    /// Whether workers are finishing their work before they go.
    package static let draining = "Draining"
    /// Whether a shrink may hit work.
    package static let workExposed = "WorkExposed"
    /// Whether a fallback stands in for a failing metric.
    package static let fallback = "Fallback"
    /// Whether the spec can be used.
    package static let valid = "Valid"
  }
}
