import Foundation
import KubernetesClient
import KubernetesCore
import Testing

@Suite("CurlTransport, against a real HTTPS server")
struct CurlTransportTests {
  private struct Echo: Decodable {
    var method: String
    var target: String
    var headers: [String: String]
    var body: String
  }

  @Test(
    "A request arrives with its method, query, header fields, body and user agent", arguments: APIRequest.Method.all)
  func echo(method: APIRequest.Method) async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        let body: [UInt8]? = method == .get ? nil : Array("{\"a\":1}".utf8)
        let response = try await transport.send(
          APIRequest(
            method: method, path: "/api/v1/echo", query: [.init("labelSelector", "app in (a,b)&c"), .init("x", "ü")],
            headers: [.init("Content-Type", "application/json"), .init("X-Empty", "")], body: body))
        #expect(response.head.status == 200)
        #expect(response.head.header("content-type") == "application/json")
        let seen = try JSONDecoder().decode(Echo.self, from: Data(response.body))
        #expect(seen.method == method.rawValue)
        #expect(seen.target == "/api/v1/echo?labelSelector=app%20in%20%28a%2Cb%29%26c&x=%C3%BC")
        #expect(seen.body == (body == nil ? "" : "{\"a\":1}"))
        #expect(seen.headers["user-agent"] == "swarmscale/test")
        #expect(seen.headers["x-empty"] == "")
        #expect(seen.headers["content-type"] == "application/json")
        #expect(seen.headers["accept-encoding"] == "identity")
        #expect(seen.headers["authorization"] == nil)
      }
    }
  }

  @Test("Every status is a response, redirects included", arguments: [200, 302, 404, 409, 429, 500, 503])
  func statuses(status: Int) async throws {
    try await TestServer.with(.init(certificate: nil)) { server in
      try await withTransport(try server.configuration(certificateAuthority: nil)) { (transport) async throws in
        let path = status == 302 ? "/redirect" : "/status"
        let response = try await transport.send(APIRequest(path: path, query: [.init("code", String(status))]))
        #expect(response.head.status == status)
        #expect(transport.statistics.responsesByClass[status / 100 - 1] == 1)
      }
    }
  }

  @Test("A body of 20 MB arrives whole, packed or not", arguments: ["/big", "/gzip"])
  func bigBody(path: String) async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        let response = try await transport.send(APIRequest(path: path, query: [.init("bytes", "20000000")]))
        #expect(response.body.count == 20_000_000)
        #expect(Set(response.body).count == 1)
      }
    }
  }

  @Test("A body over the request's limit is refused, also when it is small on the wire", arguments: ["/big", "/gzip"])
  func tooBig(path: String) async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) {
          try await transport.send(
            APIRequest(path: path, query: [.init("bytes", "5000000")], maximumResponseBytes: 1_000_000))
        }
        #expect(error?.code == .malformedResponse)
        #expect(error?.message.contains("larger than the 1000000 bytes allowed") == true)
      }
    }
  }

  @Test(
    "A server that misbehaves gives an error that names it",
    arguments: [
      ("/broken-body", KubernetesError.Code.unreachable), ("/broken-chunks", .unreachable),
      ("/bad-header", .malformedResponse), ("/huge-header", .malformedResponse), ("/no-http", .malformedResponse),
    ])
  func misbehaviour(path: String, code: KubernetesError.Code) async throws {
    try await TestServer.with { server in
      let configuration = try server.configuration()
      try await withTransport(configuration) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) { try await transport.send(APIRequest(path: path)) }
        #expect(error?.code == code)
        #expect(error?.message.contains(configuration.server) == true)
        #expect(transport.statistics.failures == 1)
        let after = try await transport.send(APIRequest(path: "/echo"))
        #expect(after.head.status == 200)
      }
    }
  }

  @Test("A port where nobody listens is unreachable, and the message says which server and what to check")
  func refused() async throws {
    let configuration = try await TestServer.with { try $0.configuration() }
    try await withTransport(configuration) { (transport) async throws in
      let error = await #expect(throws: KubernetesError.self) { try await transport.send(APIRequest(path: "/echo")) }
      #expect(error?.code == .unreachable)
      #expect(error?.message.hasPrefix("No connection to \(configuration.server): ") == true)
      #expect(
        error?.message.contains("Check that the API server runs and that its address in the test is right.") == true)
    }
  }

  @Test("A server that never answers: the request times out and its connection is closed")
  func timeout() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) {
          try await transport.send(APIRequest(path: "/silent", timeout: .milliseconds(300)))
        }
        #expect(error?.code == .timedOut)
        #expect(error?.message.contains("did not answer within 0.3 seconds") == true)
        #expect(try await transport.noted("closed-by-client", atLeast: 1) == 1)
      }
    }
  }

  @Test("Cancelling the task ends the request at once and closes its connection")
  func cancellation() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        try await withThrowingTaskGroup(of: Void.self) { (group) async throws in
          group.addTask { _ = try await transport.send(APIRequest(path: "/silent", timeout: .seconds(600))) }
          #expect(try await transport.noted("silent", atLeast: 1) == 1)
          group.cancelAll()
          await #expect(throws: CancellationError.self) { try await group.next() }
        }
        #expect(try await transport.noted("closed-by-client", atLeast: 1) == 1)
        #expect(transport.statistics.cancellations == 1)
      }
    }
  }

  @Test("A task that is already cancelled sends nothing that it would wait for")
  func cancelledBefore() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        await withTaskGroup(of: Void.self) { group in
          group.cancelAll()
          group.addTask {
            await #expect(throws: CancellationError.self) { try await transport.send(APIRequest(path: "/silent")) }
          }
        }
      }
    }
  }

  @Test("1,000 requests at once share at most 8 connections")
  func thousandAtOnce() async throws {
    try await TestServer.with { server in
      var limits = CurlTransport.Limits()
      limits.connections = 8
      try await withTransport(try server.configuration(), limits: limits) { (transport) async throws in
        let statuses = try await withThrowingTaskGroup(of: Int.self) { (group) async throws in
          for _ in 0..<1000 {
            group.addTask { try await transport.send(APIRequest(path: "/echo", timeout: .seconds(120))).head.status }
          }
          return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
        #expect(statuses == [200: 1000])
        #expect((1...8).contains(transport.statistics.connectionsOpened))
        #expect(transport.statistics.requestsInFlight == 0)
      }
    }
  }

  @Test("Shutting down ends what runs with an error and refuses what comes")
  func shutdown() async throws {
    try await TestServer.with { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        try await withThrowingTaskGroup(of: Void.self) { (group) async throws in
          group.addTask { _ = try await transport.send(APIRequest(path: "/silent", timeout: .seconds(600))) }
          #expect(try await transport.noted("silent", atLeast: 1) == 1)
          await transport.shutdown()
          let running = await #expect(throws: KubernetesError.self) { try await group.next() }
          #expect(running?.code == .unreachable)
        }
        let later = await #expect(throws: KubernetesError.self) { try await transport.send(APIRequest(path: "/echo")) }
        #expect(later?.code == .unreachable)
      }
    }
  }

  @Test("A proxy is used, and never sees the token")
  func proxy() async throws {
    try await TestServer.with { server in
      var configuration = try server.configuration()
      configuration.proxyURL = "http://127.0.0.1:\(server.proxyPort)"
      let token = StaticCredentialProvider(Credential(authorization: .bearer(Secret("first"))))
      try await withTransport(configuration, credentials: token) { (transport) async throws in
        #expect(try await transport.send(APIRequest(path: "/token")).head.status == 200)
        // A busy machine may let a connection go and open the next one: through the proxy, too.
        let proxied = try await transport.noted("proxied", atLeast: 1)
        #expect((proxied ?? 0) >= 1)
        #expect(try await transport.noted("leaked", atLeast: 0) == 0)
      }
    }
  }
}

extension APIRequest.Method {
  /// Every method.
  static let all: [APIRequest.Method] = [.get, .post, .put, .patch, .delete]
}
