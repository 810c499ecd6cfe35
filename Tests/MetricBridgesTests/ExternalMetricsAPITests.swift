import KubernetesCore
import Testing

@testable import MetricBridges

struct ExternalMetricsAPITests {
  private struct Script: BridgeSource {
    var metrics = BridgedMetric.allCases
    var given = BridgeBook.Answer.values([])
    func answer(_ metric: BridgedMetric, namespace: String, selector: Selector) -> BridgeBook.Answer {
      guard case .values(let values) = given else { return given }
      return .values(values.filter { selector.matches($0.labels) && namespace == "fleet" })
    }
  }

  private static let root = "/apis/external.metrics.k8s.io/v1beta1"
  private static let desired = "\(root)/namespaces/fleet/swarmscale-desired-replicas"

  private func json(_ text: String) throws -> JSONValue { try KubernetesJSON.parse(Array(text.utf8)) }

  @Test("Discovery lists each metric as a resource", arguments: [root, "\(root)/"])
  func discovery(path: String) throws {
    let response = Script().respond("GET", path, labelSelector: nil)
    #expect(response.status == 200)
    #expect(
      response.body
        == (try json(
          #"""
          {"kind":"APIResourceList","apiVersion":"v1","groupVersion":"external.metrics.k8s.io/v1beta1","resources":[
            {"name":"swarmscale-desired-replicas","singularName":"","namespaced":true,"kind":"ExternalMetricValueList","verbs":["get"]},
            {"name":"swarmscale-api-headroom","singularName":"","namespaced":true,"kind":"ExternalMetricValueList","verbs":["get"]}]}
          """#)))
  }

  @Test("Values are quantities with their labels and times")
  func values() throws {
    let at = Timestamp(secondsSinceEpoch: 1_800_000_000) + .milliseconds(500)
    let script = Script(
      given: .values([
        BridgedValue(labels: ["autoscaler": "web"], value: 12, at: at),
        BridgedValue(labels: ["autoscaler": "big"], value: 400_000, at: at),
      ]))
    let response = script.respond("GET", Self.desired, labelSelector: "autoscaler in (web,big)")
    #expect(response.status == 200)
    #expect(
      response.body
        == (try json(
          #"""
          {"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[
            {"metricName":"swarmscale-desired-replicas","metricLabels":{"autoscaler":"web"},"timestamp":"2027-01-15T08:00:00Z","value":"12"},
            {"metricName":"swarmscale-desired-replicas","metricLabels":{"autoscaler":"big"},"timestamp":"2027-01-15T08:00:00Z","value":"400k"}]}
          """#)))
  }

  @Test(
    "What can't be answered is a Status that says why",
    arguments: [
      ("POST", desired, nil, 405, "MethodNotAllowed", "use GET"),
      ("GET", "\(root)/namespaces/fleet/other", nil, 404, "NotFound", "there are: swarmscale-desired-replicas"),
      ("GET", "\(root)/namespaces/fleet", nil, 404, "NotFound", "namespaces/NAMESPACE/METRIC"),
      ("GET", "\(root)/namespaces/fleet/swarmscale-desired-replicas/web", nil, 404, "NotFound", "NAMESPACE/METRIC"),
      ("GET", "/apis/custom.metrics.k8s.io/v1beta1", nil, 404, "NotFound", "nothing is served"),
      ("GET", "/apis", nil, 404, "NotFound", "nothing is served"),
      ("GET", "/", nil, 404, "NotFound", "nothing is served"),
      ("GET", desired, "a in (", 400, "BadRequest", "labelSelector"),
    ] as [(String, String, String?, Int, String, String)])
  func refusals(method: String, path: String, selector: String?, status: Int, reason: String, words: String) {
    let response = Script().respond(method, path, labelSelector: selector)
    #expect(response.status == status)
    #expect(response.body["kind"] == "Status")
    #expect(response.body["code"]?.intValue == Int64(status))
    #expect(response.body["reason"]?.stringValue == reason)
    #expect(response.body["message"]?.stringValue?.contains(words) == true, "\(response.body)")
  }

  @Test("A number that isn't known is 503, and none that selects nothing an empty list")
  func unavailable() {
    let response = Script(given: .unavailable("too old")).respond("GET", Self.desired, labelSelector: "")
    #expect(response.status == 503)
    #expect(response.body["reason"] == "ServiceUnavailable")
    #expect(response.body["message"] == "too old")
    #expect(Script().respond("GET", Self.desired, labelSelector: nil).body["items"] == [])
  }

  @Test("Without a coordinator the headroom isn't served")
  func withoutBudgets() {
    let script = Script(metrics: [.desiredReplicas])
    #expect(
      script.respond("GET", "\(Self.root)/namespaces/fleet/swarmscale-api-headroom", labelSelector: nil).status == 404)
    #expect(script.respond("GET", Self.root, labelSelector: nil).body["resources"]?.arrayValue?.count == 1)
  }
}
