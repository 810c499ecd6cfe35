/// The dotted keys of structured log metadata: one list, so that a field has one name in every line.
package enum LogKey {
  /// `namespace/name` of the autoscaler that a line is about.
  package static let autoscaler = "autoscaler"
  /// `Kind/name` of the scale target.
  package static let target = "target"
  /// The replica count before a change.
  package static let replicasFrom = "replicas.from"
  /// The replica count after a change.
  package static let replicasTo = "replicas.to"
  /// The machine-readable reason, as in the condition.
  package static let reason = "reason"
  /// What went wrong, in words.
  package static let error = "error"
  /// The HTTP status of the response.
  package static let httpStatus = "http.status"
  /// The resource that a watch is about.
  package static let resource = "resource"
  /// How long something took, or how long until it's tried again, in milliseconds.
  package static let durationMilliseconds = "duration.ms"
  /// How often something has happened.
  package static let count = "count"
  /// The identity that holds the leader lease.
  package static let leaseHolder = "lease.holder"
  /// Our own identity in leader election.
  package static let identity = "lease.identity"
  /// An address that is listened on or connected to.
  package static let address = "address"
  /// The version of this program.
  package static let version = "version"
  /// A file's path.
  package static let file = "file"
}
