package import NIOCore

/// What a server says of itself in INFO.
package struct ServerInfo: Sendable, Hashable {
  package var serverID = ""
  package var serverName = ""
  /// Such as `2.15.1`.
  package var version = ""
  package var cluster: String?
  /// Whether headers are understood.
  package var headers = false
  /// Bytes that headers and payload of one message may have.
  package var maximumPayload = 1024 * 1024
  package var requiresAuthentication = false
  package var requiresTLS = false
  package var offersTLS = false
  /// To be signed by an nkey.
  package var nonce: String?
  /// `host:port` of each server of the cluster that clients can reach.
  package var connectURLs: [String] = []
  /// The server is about to close its connections: go elsewhere.
  package var isLameDuck = false
  package var jetStream = false
  package var domain: String?

  /// A server that says nothing; for tests.
  package init() {}

  /// Reads INFO's JSON.
  package init(parsing json: ByteBuffer) throws(NATSProtocolError) {
    guard let value = try? JSONValue(parsing: json), value.members != nil else { throw .malformedInfo }
    serverID = value["server_id"]?.string ?? ""
    serverName = value["server_name"]?.string ?? ""
    version = value["version"]?.string ?? ""
    cluster = value["cluster"]?.string
    headers = value["headers"]?.bool ?? false
    if let bytes = value["max_payload"]?.int, bytes > 0 { maximumPayload = bytes }
    requiresAuthentication = value["auth_required"]?.bool ?? false
    requiresTLS = value["tls_required"]?.bool ?? false
    offersTLS = requiresTLS || (value["tls_available"]?.bool ?? false)
    nonce = value["nonce"]?.string
    // A cluster of a thousand servers is larger than any; the bound keeps a hostile list from growing the pool for ever.
    connectURLs = (value["connect_urls"]?.array ?? []).prefix(1000).compactMap(\.string)
    isLameDuck = value["ldm"]?.bool ?? false
    jetStream = value["jetstream"]?.bool ?? false
    domain = value["domain"]?.string
  }
}
