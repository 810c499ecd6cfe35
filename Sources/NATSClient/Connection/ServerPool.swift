/// The servers to choose from: those of the configuration, and those that the cluster names. No I/O.
package struct ServerPool: Sendable {
  struct Server: Sendable, Hashable {
    var endpoint: NATSEndpoint
    /// Learned from INFO: forgotten when INFO no longer names it.
    var isDiscovered: Bool
    /// Refusals of the credentials in a row.
    var refusals = 0
  }

  /// In the order in which they will be tried.
  private(set) var servers: [Server]

  /// Refusals in a row after which a server isn't tried again: the first one may have met a reload of the server's configuration.
  static let maximumRefusals = 2

  package init(_ endpoints: [NATSEndpoint], shuffledBy random: inout SeededRandom, shuffles: Bool) {
    var seen: Set<String> = []
    servers = endpoints.filter { seen.insert($0.description).inserted }
      .map { Server(endpoint: $0, isDiscovered: false) }
    if shuffles { servers.shuffle(using: &random) }
  }

  /// The endpoints in the order in which they will be tried.
  package var endpoints: [NATSEndpoint] { servers.map(\.endpoint) }

  /// The next one; it goes to the end of the line. Nil: none is left.
  package mutating func next(avoiding avoided: NATSEndpoint? = nil) -> NATSEndpoint? {
    guard !servers.isEmpty else { return nil }
    let at = servers.firstIndex { $0.endpoint.description != avoided?.description } ?? 0
    let server = servers.remove(at: at)
    servers.append(server)
    return server.endpoint
  }

  /// Whether there is somewhere else to go.
  package func hasAlternative(to endpoint: NATSEndpoint) -> Bool {
    servers.contains { $0.endpoint.description != endpoint.description }
  }

  package mutating func succeeded(_ endpoint: NATSEndpoint) {
    for at in servers.indices where servers[at].endpoint == endpoint { servers[at].refusals = 0 }
  }

  /// Notes that a server refused the credentials. Returns whether any server is left.
  package mutating func refused(_ endpoint: NATSEndpoint) -> Bool {
    for at in servers.indices where servers[at].endpoint == endpoint { servers[at].refusals += 1 }
    servers.removeAll { $0.refusals >= Self.maximumRefusals }
    return !servers.isEmpty
  }

  /// Takes over what INFO names; `current` stays even where it doesn't name it.
  package mutating func discovered(
    _ urls: [String], current: NATSEndpoint, random: inout SeededRandom, shuffles: Bool
  ) {
    guard !urls.isEmpty else { return }
    var named: [NATSEndpoint] = []
    for url in urls {
      guard var endpoint = try? NATSEndpoint(url) else { continue }
      endpoint.requiresTLS = current.requiresTLS
      endpoint.certificateName = current.certificateName ?? current.host
      named.append(endpoint)
    }
    let names = Set(named.map(\.description))
    servers.removeAll { $0.isDiscovered && !names.contains($0.endpoint.description) && $0.endpoint != current }
    let known = Set(servers.map(\.endpoint.description))
    var fresh = named.filter { !known.contains($0.description) }
    if shuffles { fresh.shuffle(using: &random) }
    servers += fresh.map { Server(endpoint: $0, isDiscovered: true) }
  }
}
