/// The JSON of specs as the rows of cases/decisions.md have them in common: min 5, max 100, no windows, no policies.
enum LoopSpec {
  static let immediate = #"""
    "behavior":{"scaleUp":{"stabilizationWindowSeconds":0,"tolerance":"0","policies":[{"type":"Percent","value":1000,"periodSeconds":1}]},
     "scaleDown":{"stabilizationWindowSeconds":0,"tolerance":"0","policies":[{"type":"Percent","value":100,"periodSeconds":1}]}}
    """#

  static func spec(
    _ metrics: String..., min: Int = 5, max: Int = 100, behavior: String = immediate, more: String = "",
    target: String = "fleet"
  ) -> String {
    #"""
    {"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"\#(target)"},"minReplicas":\#(min),"maxReplicas":\#(max),
     "metrics":[\#(metrics.joined(separator: ","))],\#(behavior)\#(more.isEmpty ? "" : ",\(more)")}
    """#
  }

  /// A window of `up` and `down` seconds, and policies as JSON.
  static func behavior(
    up: Int = 0, upPolicies: String = #"{"type":"Percent","value":1000,"periodSeconds":1}"#, down: Int = 0,
    downPolicies: String = #"{"type":"Percent","value":100,"periodSeconds":1}"#
  ) -> String {
    #"""
    "behavior":{"scaleUp":{"stabilizationWindowSeconds":\#(up),"tolerance":"0","policies":[\#(upPolicies)]},
     "scaleDown":{"stabilizationWindowSeconds":\#(down),"tolerance":"0","policies":[\#(downPolicies)]}}
    """#
  }

  /// A number that asks for as many workers as it says.
  static func asking(_ name: String = "tasks") -> String {
    #"{"type":"External","external":{"metric":{"name":"\#(name)"},"target":{"type":"AverageValue","averageValue":"1"}}}"#
  }

  /// The same from Prometheus.
  static func query(_ name: String, absent: String = "Fail") -> String {
    #"""
    {"type":"Prometheus","prometheus":{"serverAddress":"http://p:9090","query":"\#(name)","absent":"\#(absent)",
     "target":{"type":"AverageValue","averageValue":"1"}}}
    """#
  }

  /// The ceiling of the budget `claude`.
  static let budget = #"{"type":"APIRate","apiRate":{"budgetRef":{"name":"claude"},"target":{"lower":85,"upper":95}}}"#

  /// The work that the workers report, four pieces for each.
  static let backlog = #"{"type":"Backlog","backlog":{"target":{"type":"AverageValue","averageValue":"4"}}}"#

  static let cpuBand = #"{"type":"Resource","resource":{"name":"cpu","target":{"type":"Band","lower":70,"upper":85}}}"#

  static func cpu(percent: Int) -> String {
    #"{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":\#(percent)}}}"#
  }

  /// From nine to five in Berlin.
  static func officeHours(_ replicas: Int) -> String {
    #"""
    {"type":"Schedule","schedule":{"timeZone":"Europe/Berlin","start":"0 9 * * 1-5","end":"0 17 * * 1-5","replicas":\#(replicas)}}
    """#
  }
}
