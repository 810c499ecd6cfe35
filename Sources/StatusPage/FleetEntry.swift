import KubernetesCore
import ScalingDecision

/// A moment of a fleet, 16 bytes.
struct FleetPoint: SeriesPoint {
  /// Seconds since the epoch.
  var at: UInt32
  /// `spec.replicas` as it was observed.
  var current: CompactCount
  /// Workers that run and are ready.
  var ready: CompactCount
  /// The goal that was decided.
  var desired: CompactCount
  /// The greatest demand.
  var demand: CompactCount
  /// The least count that a ceiling allows; absent: none binds.
  var allowed: CompactCount
  /// Pieces of work in hand, where workers report.
  var inFlight: CompactCount

  func saysTheSame(as other: FleetPoint) -> Bool {
    var other = other
    other.at = at
    return self == other
  }

  /// Peaks stay: they are what the budget's ceiling is there for.
  var weight: Int { max(demand.value ?? 0, current.value ?? 0) }
}

/// A fleet as the page knows it.
struct FleetEntry: Sendable {
  /// Which autoscaler.
  var key: ObjectKey
  /// What it scales, such as `Deployment/reviewers`.
  var target: String
  /// What was observed and decided last.
  var last: FleetPoint
  /// The history.
  var series = BoundedSeries<FleetPoint>()
  /// The bounds.
  var minimum = CompactCount.absent
  /// The bounds.
  var maximum = CompactCount.absent
  /// The step that had the last word; nil: nothing could be decided.
  var step: BindingStep?
  /// Whether it is a dry run.
  var isDryRun = false
  /// Whether something keeps it from being served.
  var isTroubled = false
  /// Workers that our own writes took away.
  var removed = 0
  /// Workers whose removal began while they had work.
  var removedBusy = 0
  /// Pieces of work that were in hand when their worker was gone.
  var lostWork = 0
  /// What was told last, as one comparable number.
  var signature = 0
  /// The number of the last entry in the list of decisions; 0: none.
  var decision: UInt64 = 0
  /// When it changed, as a revision of the model.
  var revision: UInt64 = 0

  /// What its texts take.
  var textBytes: Int { heapBytes(of: key.namespace) + heapBytes(of: key.name) + heapBytes(of: target) }
}

/// What a string takes on the heap; short ones take nothing.
func heapBytes(of string: String) -> Int {
  let count = string.utf8.count
  return count > 15 ? count + 32 : 0
}
