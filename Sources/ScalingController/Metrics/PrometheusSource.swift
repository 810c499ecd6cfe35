import KubernetesCore
package import KubernetesRuntime
package import ScalingAPI
import ScalingDecision

/// Asks Prometheus servers for numbers, over one transport for each server and set of credentials.
package actor PrometheusSource {
  private struct Entry {
    var transport: any QueryTransport
    var users: Int
    var lastUse: Int
  }

  /// The most servers that are connected at the same time: each has a thread of its own.
  private static let maximumServers = 32
  /// The longest query that goes into the URL; longer ones go into a body, which some proxies refuse.
  private static let longestURLQuery = 2_000
  /// The largest answer; a query for one number has some hundred bytes, one of 10,000 series two megabytes.
  private static let maximumResponseBytes = 8 << 20

  private let factory: (any QueryTransportFactory)?
  private let secrets: QuerySecrets
  private var transports: [QueryServer: Entry] = [:]
  private var uses = 0
  private var isShutDown = false

  /// Makes a source; without a factory every query fails with a message that says so.
  package init(factory: (any QueryTransportFactory)?, client: APIClient) {
    self.factory = factory
    secrets = QuerySecrets(client: client)
  }

  /// The present result of a query; `namespace` is where its Secrets are.
  package func collect(_ query: ResolvedAutoscaler.Query, namespace: String) async -> CollectedMetric {
    do {
      let server = try await server(of: query, namespace: namespace)
      let response = try await send(Self.request(query.query), to: server)
      if response.head.status == 401 || response.head.status == 403 { forgetCredentials(query, namespace) }
      return PrometheusResponse.collected(response, from: server.address)
    } catch let error as KubernetesError {
      return CollectedMetric(
        .unavailable(error.code == .misconfigured ? .misconfigured : .sourceFailed),
        failure: "\(query.serverAddress): \(error.message)")
    } catch {
      return CollectedMetric(.unavailable(.sourceFailed), failure: "\(query.serverAddress): \(error)")
    }
  }

  /// Ends all connections.
  package func shutdown() async {
    isShutDown = true
    let all = transports.values.map(\.transport)
    transports = [:]
    for transport in all { await transport.shutdown() }
  }

  // MARK: Requests

  /// The instant query `query`, evaluated at the server's present time.
  static func request(_ query: String) -> APIRequest {
    let path = "/api/v1/query"
    // A second less than our own patience: Prometheus' message says more than a time-out.
    let timeout = APIRequest.QueryItem("timeout", "\(metricsTimeout.components.seconds - 1)s")
    guard query.utf8.count > longestURLQuery else {
      return APIRequest(
        path: path, query: [.init("query", query), timeout], timeout: metricsTimeout,
        maximumResponseBytes: maximumResponseBytes)
    }
    let body = "query=\(formEncoded(query))&\(timeout.name)=\(timeout.value)"
    return APIRequest(
      method: .post, path: path, headers: [.init("Content-Type", "application/x-www-form-urlencoded")],
      body: Array(body.utf8), timeout: metricsTimeout, maximumResponseBytes: maximumResponseBytes)
  }

  private static func formEncoded(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
        result.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let hex = String(byte, radix: 16, uppercase: true)
        result += hex.utf8.count == 1 ? "%0\(hex)" : "%\(hex)"
      }
    }
    return result
  }

  private func send(_ request: APIRequest, to server: QueryServer) async throws -> APIResponse {
    let transport = try await acquire(server)
    defer { release(server) }
    return try await transport.send(request)
  }

  // MARK: Transports

  private func acquire(_ server: QueryServer) async throws -> any QueryTransport {
    guard let factory, !isShutDown else {
      throw KubernetesError(.misconfigured, "this controller has no HTTP client for Prometheus queries")
    }
    uses += 1
    if var entry = transports[server] {
      entry.users += 1
      entry.lastUse = uses
      transports[server] = entry
      return entry.transport
    }
    var evicted: (any QueryTransport)?
    if transports.count >= Self.maximumServers {
      let idle = transports.filter { $0.value.users == 0 }.min { $0.value.lastUse < $1.value.lastUse }
      guard let idle else {
        throw KubernetesError(.misconfigured, "more than \(Self.maximumServers) Prometheus servers are asked at once")
      }
      evicted = idle.value.transport
      transports[idle.key] = nil
    }
    let transport = try factory.makeTransport(for: server)
    transports[server] = Entry(transport: transport, users: 1, lastUse: uses)
    await evicted?.shutdown()
    return transport
  }

  private func release(_ server: QueryServer) { transports[server]?.users -= 1 }

  // MARK: Credentials

  private func server(of query: ResolvedAutoscaler.Query, namespace: String) async throws -> QueryServer {
    var server = QueryServer(address: query.serverAddress)
    func key(_ name: String) -> ObjectKey { ObjectKey(namespace: namespace, name: name) }
    switch query.authentication {
    case nil: break
    case .bearer(let secret, let name):
      server.credentials = .bearer(try await secrets.text(name, of: key(secret)))
    case .basic(let secret, let userName, let passwordName):
      server.credentials = .basic(
        user: try await secrets.text(userName, of: key(secret)),
        password: try await secrets.text(passwordName, of: key(secret)))
    }
    guard let tls = query.tls else { return server }
    server.serverName = tls.serverName
    server.skipsVerification = tls.insecureSkipVerify ?? false
    if let authority = tls.caSecretRef, let name = authority.name {
      let field = authority.key.flatMap { $0.isEmpty ? nil : $0 } ?? "ca.crt"
      server.certificateAuthority = try await secrets.value(field, of: key(name))
    }
    if let name = tls.clientSecretRef?.name {
      server.clientCertificate = QueryServer.ClientCertificate(
        certificate: try await secrets.value("tls.crt", of: key(name)),
        key: try await secrets.value("tls.key", of: key(name)))
    }
    return server
  }

  private func forgetCredentials(_ query: ResolvedAutoscaler.Query, _ namespace: String) {
    switch query.authentication {
    case nil: break
    case .bearer(let secret, _), .basic(let secret, _, _):
      secrets.forget(ObjectKey(namespace: namespace, name: secret))
    }
  }
}
