import KubernetesCore
import KubernetesRuntime
import TestSupport
import Testing

@Suite("Discovery")
struct DiscoveryTests {
  private let time = ManualTimeSource()
  private let transport = ScriptedTransport()

  private static let apps = #"""
    {"kind":"APIResourceList","groupVersion":"apps/v1","resources":[
    {"name":"deployments","singularName":"deployment","namespaced":true,"kind":"Deployment","verbs":["get"]},
    {"name":"deployments/scale","singularName":"","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale","verbs":["get"]},
    {"name":"daemonsets","singularName":"daemonset","namespaced":true,"kind":"DaemonSet","verbs":["get"]}]}
    """#

  private func discovery() -> Discovery {
    Discovery(client: APIClient(transport: transport, time: time, retryPolicy: .never, random: { 0 }))
  }

  private func failure(_ discovery: Discovery, _ apiVersion: String, _ kind: String) async -> DiscoveryFailure? {
    do {
      _ = try await discovery.scalableResource(apiVersion: apiVersion, kind: kind)
      return nil
    } catch {
      return error as? DiscoveryFailure
    }
  }

  @Test("A kind with scale is found with one request, however often it is asked for")
  func found() async throws {
    transport.expect(.get, "/apis/apps/v1", .json(Self.apps))
    let discovery = discovery()
    for _ in 0..<3 {
      let found = try await discovery.scalableResource(apiVersion: "apps/v1", kind: "Deployment")
      #expect(found.resource == GroupVersionResource(group: "apps", version: "v1", resource: "deployments"))
      #expect(found.isNamespaced)
      #expect(found.scaleAPIVersion == "autoscaling/v1")
    }
  }

  @Test(
    "A misspelt kind is answered with the kinds that could be meant",
    arguments: ["deployment", "Deploymnt", "deployments"])
  func unknownKind(kind: String) async {
    transport.expect(.get, "/apis/apps/v1", .json(Self.apps))
    let expected = DiscoveryFailure.unknownKind(apiVersion: "apps/v1", kind: kind, near: ["Deployment"])
    #expect(await failure(discovery(), "apps/v1", kind) == expected)
    #expect(expected.description.contains("did you mean Deployment?"))
  }

  @Test("A kind without scale is told apart")
  func noScale() async {
    transport.expect(.get, "/apis/apps/v1", .json(Self.apps))
    #expect(
      await failure(discovery(), "apps/v1", "DaemonSet") == .noScale(apiVersion: "apps/v1", kind: "DaemonSet"))
  }

  @Test("An API that isn't there, or is down, is told apart, and asked for again after the interval only")
  func unavailable() async throws {
    transport.expect(.get, "/apis/example.com/v1", .status(404, reason: "NotFound"))
    let discovery = discovery()
    for _ in 0..<2 {
      guard
        case .groupUnavailable(apiVersion: "example.com/v1", _) = await failure(discovery, "example.com/v1", "Thing")
      else {
        Issue.record("expected groupUnavailable")
        return
      }
    }
    #expect(transport.requests.count == 1)
    time.advance(by: .seconds(30))
    let installed = #"""
      {"groupVersion":"example.com/v1","resources":[{"name":"things","namespaced":false,"kind":"Thing","verbs":[]},
      {"name":"things/scale","namespaced":false,"group":"autoscaling","version":"v1","kind":"Scale","verbs":[]}]}
      """#
    transport.expect(.get, "/apis/example.com/v1", .json(installed))
    let found = try await discovery.scalableResource(apiVersion: "example.com/v1", kind: "Thing")
    #expect(!found.isNamespaced)
    transport.expect(.get, "/apis/down.example.com/v1", .status(503, reason: "ServiceUnavailable"))
    guard case .groupUnavailable = await failure(discovery, "down.example.com/v1", "Thing") else {
      Issue.record("expected groupUnavailable")
      return
    }
  }

  @Test("Text that is no apiVersion reaches no server", arguments: ["", "a/b/c", "apps/", "/v1", "../v1", "Apps/v1"])
  func malformed(text: String) async {
    #expect(await failure(discovery(), text, "Thing") == .malformedAPIVersion(text))
    #expect(transport.requests.isEmpty)
  }
}
