package import KubernetesCore
package import ScalingAPI
import ScalingDecision

/// Knows by how many seconds civil time is ahead of UTC in a time zone.
package protocol TimeZoneOffsets: Sendable {
  /// The offset of the zone called `name` at each moment; nil when there is no such zone.
  func offset(ofZone name: String) -> (@Sendable (Timestamp) -> Int)?
}

/// A schedule of a spec with its texts read.
package struct ScheduleQuery: Hashable, Sendable {
  /// The IANA name of the time zone.
  package var timeZone: String
  /// When the count begins to hold.
  package var start: CronSchedule
  /// When it ends.
  package var end: CronSchedule
  /// The count.
  package var replicas: Int

  /// Makes a query.
  package init(timeZone: String, start: CronSchedule, end: CronSchedule, replicas: Int) {
    self.timeZone = timeZone
    self.start = start
    self.end = end
    self.replicas = replicas
  }

  /// The count that holds at `now`, and when that changes: the decision makes the next pass due then.
  package func collected(at now: Timestamp, zones: any TimeZoneOffsets) -> CollectedMetric {
    guard let offset = zones.offset(ofZone: timeZone) else {
      return CollectedMetric(
        .unavailable(.misconfigured),
        failure: "the time zone \"\(timeZone)\" is unknown here; write an IANA name such as Europe/Berlin or UTC; "
          + "if it is one, the system lacks its time zone database (package tzdata)")
    }
    let window = CronSchedule.window(start: start, end: end, at: now, offset: offset)
    return CollectedMetric(.schedule(replicas: window.isOpen ? replicas : nil, until: window.nextTransition))
  }
}
