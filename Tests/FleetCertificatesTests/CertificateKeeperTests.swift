import Foundation
import KubernetesCore
import KubernetesRuntime
import Logging
import Synchronization
import TestSupport
import Testing

@testable import FleetCertificates

/// Replicas that share one Secret, over an API server in memory that compares versions as the real one does.
struct CertificateKeeperTests {
  private final class Server: APITransport {
    private struct State {
      var secret: JSONValue?
      var version = 0
      var writes = 0
      var webhooks: [String: JSONValue] = [:]
      var apiService: JSONValue?
      var order: [String] = []
    }
    private let state = Mutex(State())

    init() {
      state.withLock { state in
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
          state.webhooks[kind] = ["webhooks": [["name": "a", "clientConfig": [:]]]]
        }
      }
    }

    var writes: Int { state.withLock { $0.writes } }
    var order: [String] { state.withLock { $0.order } }
    var bundles: Set<String> {
      state.withLock {
        Set($0.webhooks.values.compactMap { $0["webhooks"]?[0]?["clientConfig"]?["caBundle"]?.stringValue })
      }
    }

    func send(_ request: APIRequest) async throws -> APIResponse {
      // Others get their turn between a read and the write after it.
      await Task.yield()
      return try state.withLock { state in
        if request.path.contains("secrets") { return try Self.secret(request, &state) }
        let kind = String(request.path.split(separator: "/")[3])
        if kind == "apiservices" { return try Self.apiService(request, &state) }
        if request.method == .patch {
          let patch = try KubernetesJSON.parse(request.body ?? [])
          state.webhooks[kind]?["webhooks"] = patch["webhooks"]
          state.order.append(kind)
        }
        return Self.answer(200, state.webhooks[kind] ?? .null)
      }
    }

    var apiService: JSONValue? {
      get { state.withLock { $0.apiService } }
      set { state.withLock { $0.apiService = newValue } }
    }

    private static func apiService(_ request: APIRequest, _ state: inout State) throws -> APIResponse {
      #expect(request.path == "/apis/apiregistration.k8s.io/v1/apiservices/v1.metrics")
      guard let present = state.apiService else {
        return answer(404, ["kind": "Status", "reason": "NotFound", "code": 404])
      }
      if request.method == .patch {
        state.apiService = present.applyingMergePatch(try KubernetesJSON.parse(request.body ?? []))
        state.order.append("apiservices")
      }
      return answer(200, state.apiService ?? .null)
    }

    private static func secret(_ request: APIRequest, _ state: inout State) throws -> APIResponse {
      if request.method == .get {
        return state.secret.map { answer(200, $0) }
          ?? answer(404, ["kind": "Status", "reason": "NotFound", "code": 404])
      }
      var sent = try KubernetesJSON.parse(request.body ?? [])
      let present = state.secret?["metadata"]?["resourceVersion"]
      guard request.method == .post ? present == nil : sent["metadata"]?["resourceVersion"] == present else {
        return answer(
          409, ["kind": "Status", "reason": request.method == .post ? "AlreadyExists" : "Conflict", "code": 409])
      }
      state.version += 1
      state.writes += 1
      sent["metadata"]?["resourceVersion"] = .string("\(state.version)")
      state.secret = sent
      state.order.append("secret")
      return answer(200, sent)
    }

    private static func answer(_ status: Int, _ body: JSONValue) -> APIResponse {
      APIResponse(
        head: APIResponseHead(status: status, headers: [.init("Content-Type", "application/json")]), body: body.text)
    }

    func withStream<Result: Sendable>(
      _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
    ) async throws -> Result { throw KubernetesError(.notSupported, "no streams here") }
  }

  private func keeper(
    _ server: Server, _ identity: ServingIdentity, _ time: ManualTimeSource, names: Set<String> = ["a.b.svc"],
    apiService: (name: String, service: ObjectKey)? = nil
  ) -> CertificateKeeper {
    CertificateKeeper(
      .init(
        secret: ObjectKey(namespace: "b", name: "certificates"), names: names, webhooks: "w", apiService: apiService),
      client: APIClient(transport: server, time: time, retryPolicy: .never), identity: identity, time: time,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  @Test("Replicas that begin together agree on one set, which one of them has made")
  func agree() async throws {
    let (server, time) = (Server(), ManualTimeSource())
    let identities = (0..<8).map { _ in ServingIdentity() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for identity in identities { group.addTask { try await keeper(server, identity, time).look() } }
      try await group.waitForAll()
    }
    #expect(server.writes == 1)
    #expect(Set(identities.map(\.authorities)).count == 1)
    #expect(server.bundles.count == 1)
    #expect(server.bundles.first.flatMap { Data(base64Encoded: $0) } == Data((identities[0].authorities ?? "").utf8))
  }

  @Test("A new authority reaches the API servers before the certificate that it signs is shown")
  func order() async throws {
    let time = ManualTimeSource()
    let server = Server()
    let identity = ServingIdentity()
    try await keeper(server, identity, time).look()
    let before = (identity.authorities, server.bundles, server.order.count)
    // Six years later.
    let later = ManualTimeSource(wall: time.wallNow + .seconds(6 * 365 * 86_400))
    try await keeper(server, identity, later).look()
    #expect(
      Array(server.order.dropFirst(before.2).prefix(3)) == [
        "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "secret",
      ])
    #expect(server.bundles != before.1)
    #expect(identity.authorities?.hasSuffix(before.0 ?? "none") == true)
  }

  @Test("A replica with other names renews the certificate, and nothing is due for it afterwards")
  func names() async throws {
    let (server, time) = (Server(), ManualTimeSource())
    let identity = ServingIdentity()
    try await keeper(server, identity, time).look()
    let step = try await keeper(server, identity, time, names: ["a.b.svc", "c.b.svc"]).look()
    #expect(server.writes == 2)
    if case .keep = step {} else { Issue.record("\(step)") }
  }

  private static let apiService = (name: "v1.metrics", service: ObjectKey(namespace: "b", name: "a"))

  private static func registration(_ service: String, _ more: [String: JSONValue] = [:]) -> JSONValue {
    ["spec": .object(["service": ["namespace": "b", "name": .string(service), "port": 443]].merging(more) { $1 })]
  }

  @Test("An APIService gets the authorities, also before a new one signs, and no longer trusts everybody")
  func apiServices() async throws {
    let (server, time) = (Server(), ManualTimeSource())
    server.apiService = Self.registration("a", ["insecureSkipTLSVerify": true])
    let identity = ServingIdentity()
    try await keeper(server, identity, time, apiService: Self.apiService).look()
    func bundle() throws -> String {
      let text = try #require(server.apiService?["spec"]?["caBundle"]?.stringValue)
      return String(decoding: try #require(Data(base64Encoded: text)), as: UTF8.self)
    }
    #expect(try bundle() == identity.authorities)
    #expect(server.apiService?["spec"]?["insecureSkipTLSVerify"] == nil)
    #expect(server.apiService?["spec"]?["service"]?["port"] == 443)
    let count = server.order.count
    try await keeper(server, identity, time, apiService: Self.apiService).look()
    #expect(server.order.count == count, "what is right is left alone")
    let later = ManualTimeSource(wall: time.wallNow + .seconds(6 * 365 * 86_400))
    try await keeper(server, identity, later, apiService: Self.apiService).look()
    let order = Array(server.order.dropFirst(count))
    #expect(try #require(order.firstIndex(of: "apiservices")) < #require(order.firstIndex(of: "secret")))
    #expect(try bundle() == identity.authorities)
  }

  @Test("Another program's APIService is left alone and told of, and certificates are renewed all the same")
  func foreignAPIService() async throws {
    let (server, time) = (Server(), ManualTimeSource())
    let identity = ServingIdentity()
    for registration in [Self.registration("keda"), nil] {
      server.apiService = registration
      let error = await #expect(throws: KubernetesError.self) {
        try await keeper(server, identity, time, apiService: Self.apiService).look()
      }
      #expect(error?.message.contains(registration == nil ? "apply manifests/bridges" : "Service b/keda") == true)
      #expect(server.apiService == registration)
      #expect(identity.isReady)
    }
    let (authorities, writes) = (identity.authorities, server.writes)
    let later = ManualTimeSource(wall: time.wallNow + .seconds(6 * 365 * 86_400))
    await #expect(throws: KubernetesError.self) {
      try await keeper(server, identity, later, apiService: Self.apiService).look()
    }
    #expect(server.writes == writes + 1)
    #expect(identity.authorities != authorities)
  }
}
