import KubernetesCore
import KubernetesRuntime
import TestSupport
import Testing

@Suite("API client")
struct APIClientTests {
  private let time = ManualTimeSource()
  private let transport = ScriptedTransport()
  private let key = ObjectKey(namespace: "n", name: "a")
  private static let path = "/apis/coordination.k8s.io/v1/namespaces/n/leases/a"
  private static let scalePath = "/apis/apps/v1/namespaces/n/deployments/a/scale"
  private static let deployments = GroupVersionResource(group: "apps", version: "v1", resource: "deployments")
  private static let object = #"{"metadata":{"namespace":"n","name":"a","resourceVersion":"4"}}"#

  private var client: APIClient { APIClient(transport: transport, time: time, random: { 0 }) }

  private func code<Value>(_ operation: () async throws -> Value) async -> KubernetesError.Code? {
    do {
      _ = try await operation()
      return nil
    } catch {
      return (error as? KubernetesError)?.code
    }
  }

  @Test("A read that fails in passing is tried again", arguments: [500, 503, 429])
  func readsAreRetried(status: Int) async throws {
    transport.expect(.get, Self.path, .status(status, reason: "InternalError"))
    transport.expect(.get, Self.path, .failure(KubernetesError(.unreachable, "reset")))
    transport.expect(.get, Self.path, .json(Self.object))
    let reading = Gate()
    try await withThrowingTaskGroup(of: String.self) { [client, key, time] group in
      group.addTask {
        defer { reading.open() }
        return try await client.get(Lease.self, key).resourceVersion
      }
      for expected in [Duration.milliseconds(100), .milliseconds(300)] {
        #expect(await time.nextSleep() == MonotonicTime(sinceOrigin: expected))
        time.advanceToNextSleeper()
      }
      let version = try await group.next()
      #expect(version == "4")
    }
  }

  @Test("A server's Retry-After is obeyed, up to the limit")
  func retryAfter() async throws {
    transport.expect(.get, Self.path, .status(429, reason: "TooManyRequests", retryAfter: 12))
    transport.expect(.get, Self.path, .status(429, reason: "TooManyRequests", retryAfter: 3_000))
    try await withThrowingTaskGroup(of: KubernetesError.Code?.self) { [client, key, time] group in
      group.addTask { await code { try await client.get(Lease.self, key) } }
      #expect(await time.nextSleep() == MonotonicTime(sinceOrigin: .seconds(12)))
      time.advanceToNextSleeper()
      let result = try await group.next()
      #expect(result == .some(.tooManyRequests))
    }
    #expect(time.sleepingUntil.isEmpty)
  }

  @Test("Attempts are bounded")
  func attempts() async throws {
    transport.expect(.get, Self.path, times: nil, .status(503, reason: "ServiceUnavailable"))
    try await withThrowingTaskGroup(of: KubernetesError.Code?.self) { [client, key, time] group in
      group.addTask { await code { try await client.get(Lease.self, key) } }
      for _ in 0..<3 {
        await time.nextSleep()
        time.advanceToNextSleeper()
      }
      let result = try await group.next()
      #expect(result == .some(.serverFailure))
    }
    #expect(transport.requests.count == 4)
  }

  @Test("A write that may have been carried out isn't sent again", arguments: [500, 504, 409, 422])
  func writesAreNotRetried(status: Int) async {
    transport.expect(.put, Self.path, .status(status, reason: "InternalError"))
    let lease = Lease(metadata: ObjectMeta(name: "a", namespace: "n", resourceVersion: "4"))
    #expect(await code { try await client.replace(lease) } != nil)
    #expect(transport.requests.count == 1)
  }

  @Test("A write turned away with 429 is sent again")
  func writeAfter429() async throws {
    transport.expect(.put, Self.path, .status(429, reason: "TooManyRequests"))
    transport.expect(.put, Self.path, .json(Self.object))
    let lease = Lease(metadata: ObjectMeta(name: "a", namespace: "n", resourceVersion: "3"))
    try await withThrowingTaskGroup(of: String.self) { [client, time] group in
      group.addTask { try await client.replace(lease).resourceVersion }
      await time.nextSleep()
      time.advanceToNextSleeper()
      let version = try await group.next()
      #expect(version == "4")
    }
  }

  @Test("A scale is written with the version it was read at, and never without one")
  func scale() async throws {
    let text = #"{"metadata":{"namespace":"n","name":"a","resourceVersion":"7"},"spec":{"replicas":3}}"#
    transport.expect(.get, Self.scalePath, .json(text))
    transport.expect(.put, Self.scalePath, .json(text)) { request in
      guard let body = request.body, let sent = try? KubernetesJSON.decode(Scale.self, from: body) else { return false }
      return sent.replicas == 9 && sent.metadata.resourceVersion == "7" && request.priority == .write
    }
    var scale = try await client.scale(of: Self.deployments, key)
    scale.replicas = 9
    try await client.replaceScale(of: Self.deployments, key, scale)
    scale.metadata.resourceVersion = ""
    let unguarded = scale
    #expect(await code { try await client.replaceScale(of: Self.deployments, key, unguarded) } == .invalid)
    #expect(transport.requests.count == 2)
  }

  @Test("A list follows its pages and begins anew once when a token expires")
  func list() async throws {
    let path = "/apis/coordination.k8s.io/v1/leases"
    let page = #"{"metadata":{"resourceVersion":"9","continue":"t"},"items":[\#(Self.object)]}"#
    let last = #"{"metadata":{"resourceVersion":"10"},"items":[\#(Self.object),\#(Self.object)]}"#
    transport.expect(.get, path, .json(page))
    transport.expect(.get, path, .status(410, reason: "Expired"))
    transport.expect(.get, path, .json(page))
    transport.expect(.get, path, .json(last)) { $0.query.contains(.init("continue", "t")) }
    var pages: [(Int, Bool)] = []
    let version = try await client.list(Lease.self) { objects, isFirst in pages.append((objects.count, isFirst)) }
    #expect(version == "10")
    #expect(pages.map(\.0) == [1, 1, 2])
    #expect(pages.map(\.1) == [true, true, false])
    #expect(transport.requests[0].query.contains(.init("limit", "500")))
  }
}
