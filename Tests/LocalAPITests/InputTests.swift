import KubernetesCore
import KubernetesYAML
import LocalAPI
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite("Odd input to the local cluster")
struct InputTests {
  private let maps = "/api/v1/namespaces/default/configmaps"

  @Test(
    "Any bytes as a body are answered with a status, and nothing is stored",
    arguments: [
      "", "null", "[]", "{}", "7", "\"x\"", "{\"metadata\":7}", "{\"metadata\":{\"name\":7}}", "{\"a\":{", "\u{0}",
    ])
  func bodies(text: String) {
    var cluster = Cluster()
    var generator = SystemRandomNumberGenerator()
    for type in cluster.state.servedPaths {
      for method in ["POST", "PUT", "PATCH"] {
        for media in [
          "application/json", "application/json-patch+json", "application/merge-patch+json",
          "application/strategic-merge-patch+json", "application/apply-patch+yaml",
        ] {
          let path = method == "POST" ? type : "\(type)/thing"
          let call = APICall(
            method, path, query: [(name: "fieldManager", value: "t")], contentType: media, body: Array(text.utf8))
          var state = cluster.state
          guard
            case .document(let status, let document, _) = state.respond(to: call, at: cluster.now, using: &generator)
          else {
            Issue.record("\(method) \(path) \(media): no document")
            continue
          }
          #expect(status >= 400, "\(method) \(path) \(media)")
          #expect(document["kind"] == "Status")
        }
      }
    }
    cluster.settle()
  }

  @Test("A body beyond the limit is refused with 413")
  func large() {
    var limits = ClusterState.Limits()
    limits.bodyBytes = 100
    var cluster = Cluster(limits: limits)
    let body: JSONValue = [
      "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "a"],
      "data": ["a": .string(String(repeating: "x", count: 100))],
    ]
    #expect(cluster.send("POST", maps, body).status == 413)
  }

  @Test("Where the cluster is full, a new object is refused and an old one can still be changed")
  func full() {
    var limits = ClusterState.Limits()
    // The namespaces and their accounts are there from the start.
    limits.objects = 9
    var cluster = Cluster(limits: limits)
    let map: JSONValue = ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "a"]]
    #expect(cluster.send("POST", maps, map).status == 201)
    var other = map
    other["metadata"]?["name"] = "b"
    #expect(cluster.send("POST", maps, other).status == 507)
    let patch: JSONValue = ["data": ["a": "1"]]
    #expect(cluster.send("PATCH", "\(maps)/a", patch, type: "application/merge-patch+json").status == 200)
  }

  @Test(
    "Paths that aren't served are not found",
    arguments: [
      "/api/v2/pods", "/apis/apps/v1/things", "/x", "/api/v1/namespaces/a/b/c/d/e", "/apis/apps/v1beta1/deployments",
    ])
  func paths(path: String) {
    var cluster = Cluster()
    #expect(cluster.send("GET", path).status == 404)
  }

  @Test("A strict writer is told of unknown fields, another one is not")
  func unknownFields() {
    var cluster = Cluster()
    var deployment = Cluster.deployment("web", replicas: 1)
    deployment["spec"]?["replcas"] = 3
    let path = "/apis/apps/v1/namespaces/default/deployments"
    let refused = cluster.send("POST", path, deployment, query: [(name: "fieldValidation", value: "Strict")])
    #expect(refused.status == 400)
    #expect(refused.document["message"]?.stringValue?.contains("unknown field \"spec.replcas\"") == true)
    let accepted = cluster.send("POST", path, deployment)
    #expect(accepted.status == 201)
    #expect(accepted.document[path: ["spec", "replcas"]] == nil)
  }

  @Test("Our own types are refused for what the CRD refuses, with the words of `swarmscale validate`")
  func ownTypes() {
    var cluster = Cluster()
    let body: JSONValue = [
      "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "metadata": ["name": "a"],
      "spec": [
        "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "web"],
        "drain": ["strategy": "Sometimes"],
      ],
    ]
    let answer = cluster.send("POST", "/apis/swarmscale.dev/v1alpha1/namespaces/default/swarmautoscalers", body)
    #expect(answer.status == 422)
    #expect(answer.document[path: ["details", "causes", "0", "field"]] == "spec.drain.strategy")
    #expect(answer.document["message"]?.stringValue?.contains("IdleFirst") == true)
  }

  @Test("The schemas of our own types are those of manifests/crd", arguments: ["swarmautoscalers", "apibudgets"])
  func schemas(plural: String) throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "manifests/crd/\(plural).yaml")
    let document = try #require(YAMLDocument.read(Array(try Data(contentsOf: file))).0.first?.json)
    let version = try #require(document[path: ["spec", "versions", "0"]])
    let served = try #require(ResourceCatalog.shared.customPart(plural))
    // The descriptions' texts, too: `kubectl explain` shows them.
    #expect(
      served["schema"] == version[path: ["schema", "openAPIV3Schema"]], "run scripts/generate-local-schemas")
    #expect(
      served["columns"] == version["additionalPrinterColumns"], "run scripts/generate-local-schemas")
  }
}

@Suite("Patches of the local cluster")
struct PatchTests {
  @Test("A strategic patch's order is followed, and what it doesn't name keeps its place")
  func order() throws {
    let schema = try #require(ResourceCatalog.shared.type(storage: "pods")?.schema)
    let pod: JSONValue = ["spec": ["containers": [["name": "a"], ["name": "b"], ["name": "c"]]]]
    let patch: JSONValue = [
      "spec": [
        "$setElementOrder/containers": [["name": "c"], ["name": "d"]], "containers": [["name": "d", "image": "x"]],
      ]
    ]
    let patched = try StrategicMergePatch.apply(patch, to: pod, schema: schema)
    let names = patched[path: ["spec", "containers"]]?.arrayValue?.compactMap { $0["name"]?.stringValue }
    #expect(names == ["a", "b", "c", "d"])
  }

  @Test("A JSON patch is carried out as a whole or not at all")
  func atomic() {
    let patch: JSONValue = [
      ["op": "add", "path": "/a", "value": 1], ["op": "test", "path": "/a", "value": 2],
    ]
    #expect(throws: PatchError.self) { try JSONPatch.apply(patch, to: [:]) }
  }

  @Test("Pointers with escapes", arguments: [("/a~1b", "a/b"), ("/a~0b", "a~b"), ("/a~01", "a~1")])
  func pointers(pointer: String, name: String) throws {
    let patch: JSONValue = [["op": "add", "path": .string(pointer), "value": 1]]
    #expect(try JSONPatch.apply(patch, to: [:])[name] == 1)
  }
}
