import KubernetesClient
package import KubernetesCore
package import ScalingController

/// Makes HTTP clients for metric queries: libcurl, as for the Kubernetes API, but a thread and credentials of its own
/// for each server.
package struct CurlQueryTransports: QueryTransportFactory {
  /// What requests call themselves.
  let userAgent: String
  /// The clocks.
  let time: any TimeSource

  /// Makes a factory.
  package init(userAgent: String, time: any TimeSource) {
    self.userAgent = userAgent
    self.time = time
  }

  package func makeTransport(for server: QueryServer) throws -> any QueryTransport {
    var tls = TLSSettings(serverName: server.serverName, skipsVerification: server.skipsVerification)
    tls.certificateAuthority = server.certificateAuthority.map { .data($0) }
    tls.clientCertificate = server.clientCertificate.map {
      ClientCertificateSource(certificate: .data($0.certificate), key: .data($0.key))
    }
    let authorization: Credential.Authorization? =
      switch server.credentials {
      case .none: nil
      case .bearer(let token): .bearer(Secret(token))
      case .basic(let user, let password): .basic(user: user, password: Secret(password))
      }
    let configuration = ClusterConfiguration(
      server: server.address, tls: tls, origin: "a metric's serverAddress \(server.address)")
    var limits = CurlTransport.Limits()
    // One number at a time; and a server that can't be reached must leave time for its message within a pass.
    limits.connections = 4
    limits.connectTimeout = .seconds(5)
    limits.idleHandles = 4
    return CurlQueryTransport(
      transport: try CurlTransport(
        configuration: configuration,
        credentials: StaticCredentialProvider(Credential(authorization: authorization)), userAgent: userAgent,
        timeSource: time, limits: limits))
  }
}

/// A libcurl transport as the metric sources see it.
private struct CurlQueryTransport: QueryTransport {
  let transport: CurlTransport

  func send(_ request: APIRequest) async throws -> APIResponse { try await transport.send(request) }

  func shutdown() async { await transport.shutdown() }
}
