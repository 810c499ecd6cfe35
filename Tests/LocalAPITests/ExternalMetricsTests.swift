import KubernetesCore
import LocalAPI
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite("external.metrics.k8s.io on the local cluster")
struct ExternalMetricsTests {
  private static let root = "/apis/external.metrics.k8s.io"
  private var state: ClusterState
  private var generator = SystemRandomNumberGenerator()
  private let now = Timestamp(secondsSinceEpoch: 1_800_000_000)

  init() {
    state = ClusterState(at: now, using: &generator)
    state.externalMetrics = ["tasks_outstanding", "tasks_pending"]
  }

  private mutating func get(_ path: String, selector: String? = nil) -> APIAnswer {
    let query = selector.map { [(name: "labelSelector", value: $0)] } ?? []
    return state.respond(to: APICall("GET", path, query: query), at: now, using: &generator)
  }

  private mutating func document(_ path: String, selector: String? = nil) -> (status: Int, json: JSONValue)? {
    guard case .document(let status, let json, _) = get(path, selector: selector) else { return nil }
    return (status, json)
  }

  @Test("Discovery names the group, its version and its metrics")
  mutating func discovery() throws {
    let groups = try #require(document("/apis")).json["groups"]?.arrayValue ?? []
    #expect(groups.contains { $0["name"] == "external.metrics.k8s.io" })
    #expect(document(Self.root)?.json["preferredVersion"]?["version"] == "v1beta1")
    let resources = try #require(document("\(Self.root)/v1beta1")).json["resources"]?.arrayValue ?? []
    #expect(resources.map { $0["name"] } == ["tasks_outstanding", "tasks_pending"])
    #expect(resources.allSatisfy { $0["namespaced"] == true && $0["kind"] == "ExternalMetricValueList" })
  }

  @Test("Without metrics the group isn't there")
  mutating func absent() {
    state.externalMetrics = []
    #expect(document(Self.root)?.status == 404)
    let groups = document("/apis")?.json["groups"]?.arrayValue ?? []
    #expect(!groups.contains { $0["name"] == "external.metrics.k8s.io" })
  }

  @Test("A metric's values are those of the series that match, in the order of their labels")
  mutating func values() throws {
    let path = "\(Self.root)/v1beta1/namespaces/default/tasks_outstanding"
    guard case .external(let request) = get(path, selector: "queue in (a,b)") else {
      Issue.record("no question for values")
      return
    }
    #expect(request.metric == "tasks_outstanding")
    let json = ClusterState.externalDocument(
      for: request,
      measured: ["b", "c", "a"].map { MeasuredExternal(labels: ["queue": $0], milliValue: 2_500) }, at: now)
    // As the controller reads it.
    let list = try JSONDecoder().decode(ExternalMetricValueList.self, from: Data(json.text))
    #expect(list.items.map(\.metricLabels) == [["queue": "a"], ["queue": "b"]])
    #expect(list.items.allSatisfy { $0.value.milliValue == 2_500 && $0.metricName == "tasks_outstanding" })
    #expect(list.items.allSatisfy { $0.timestamp == now })
  }

  @Test(
    "Other paths, methods and selectors are refused",
    arguments: [
      ("v1beta1/namespaces/default/tasks_lost", 404), ("v1beta1/tasks_pending", 404),
      ("v1/namespaces/default/tasks_pending", 404), ("v1beta1/namespaces/default/tasks_pending/x", 404),
    ])
  mutating func refused(path: String, status: Int) {
    #expect(document("\(Self.root)/\(path)")?.status == status)
    #expect(document("\(Self.root)/v1beta1/namespaces/a/tasks_pending", selector: "a in")?.status == 400)
    var call = APICall("POST", "\(Self.root)/v1beta1/namespaces/a/tasks_pending")
    call.body = Array("{}".utf8)
    guard case .document(405, _, _) = state.respond(to: call, at: now, using: &generator) else {
      Issue.record("a POST is not refused")
      return
    }
  }
}
