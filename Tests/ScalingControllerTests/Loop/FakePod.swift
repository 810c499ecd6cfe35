import KubernetesCore

/// A pod of the fleet, and what the metrics API says about it.
struct FakePod: Sendable {
  var name: String
  var phase = "Running"
  var isReady = true
  var isDeleting = false
  var isScheduled = true
  /// Whether it has the sidecar.
  var hasSidecar = false
  /// How old it is, and, five seconds less, how long ready or not.
  var age = Duration.seconds(3600)
  /// What it uses in thousandths of its request of one core; nil: the metrics API has nothing about it.
  var cpuMilli: Int64?

  static func name(_ number: Int) -> String { "w-\(number < 10 ? "00" : number < 100 ? "0" : "")\(number)" }

  /// `count` ready pods of one core each, used to `percent`.
  static func ready(_ count: Int, from first: Int = 0, percent: Int64?) -> [FakePod] {
    (first..<first + count).map { FakePod(name: name($0), cpuMilli: percent.map { $0 * 10 }) }
  }

  private static let sidecar =
    #""initContainers":[{"name":"swarmscale-sidecar","restartPolicy":"Always","resources":{"requests":{"cpu":"10m","memory":"32Mi"}}}],"#

  /// The pod as the API server has it.
  func object(at now: Timestamp) throws -> Pod {
    let created = (now - age).rfc3339
    let changed = (now - age + .seconds(5)).rfc3339
    let deleted = isDeleting ? #","deletionTimestamp":"\#(now.rfc3339)""# : ""
    let started = isScheduled ? #""startTime":"\#(created)","# : ""
    let text = #"""
      {"metadata":{"name":"\#(name)","namespace":"ns","uid":"\#(name)","resourceVersion":"\#(now.nanosecondsSinceEpoch)","labels":{"app":"fleet"},
        "creationTimestamp":"\#(created)"\#(deleted)},
       "spec":{\#(isScheduled ? #""nodeName":"n","# : "")\#(hasSidecar ? Self.sidecar : "")"containers":[{"name":"main","resources":{"requests":{"cpu":"1","memory":"1Gi"}}}]},
       "status":{"phase":"\#(phase)",\#(started)"conditions":[
         {"type":"Ready","status":"\#(isReady ? "True" : "False")","lastTransitionTime":"\#(changed)"},
         {"type":"PodScheduled","status":"\#(isScheduled ? "True" : "False")","lastTransitionTime":"\#(created)"}]}}
      """#
    return try KubernetesJSON.decode(Pod.self, from: Array(text.utf8))
  }

  /// The pod as `metrics.k8s.io` has it.
  func metrics(at now: Timestamp) -> String? {
    cpuMilli.map { milli in
      #"""
      {"metadata":{"name":"\#(name)","namespace":"ns"},"timestamp":"\#(now.rfc3339)","window":"15s",
       "containers":[{"name":"main","usage":{"cpu":"\#(milli)m","memory":"100Mi"}}]}
      """#
    }
  }
}
