import KubernetesCore

/// A server's URL taken apart: what has to be known of it before libcurl sees it.
package struct ServerAddress: Hashable, Sendable, CustomStringConvertible {
  /// `http` or `https`.
  package let scheme: String
  /// The host's name or address; an IPv6 address stands in brackets.
  package let host: String
  /// The port.
  package let port: Int
  /// The path before the API's own paths: empty, or beginning with `/` and not ending with it.
  package let basePath: String

  /// Takes `url` apart; throws what is wrong with it and how to write it.
  package init(_ url: String) throws {
    func wrong(_ what: String) -> KubernetesError {
      KubernetesError(
        .misconfigured,
        "The server URL \"\(url)\" \(what). Write it like https://10.0.0.1:6443 or https://[fd00::1]:6443.")
    }
    let lowered = url.lowercased()
    let schemes = ["https://", "http://"]
    guard let prefix = schemes.first(where: { lowered.hasPrefix($0) }) else {
      throw wrong(lowered.contains("://") ? "has a scheme other than https or http" : "has no scheme")
    }
    let rest = url.dropFirst(prefix.count)
    guard !rest.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) else { throw wrong("contains white space") }
    guard !rest.contains("?"), !rest.contains("#") else { throw wrong("has a query or a fragment") }
    let pathStart = rest.firstIndex(of: "/") ?? rest.endIndex
    let authority = rest[..<pathStart]
    guard !authority.contains("@") else {
      throw KubernetesError(
        .misconfigured, "The server URL holds a user name or password. Put credentials into the user's entry instead.")
    }
    let (host, port) = try Self.split(authority: authority, wrong: wrong)
    var path = rest[pathStart...]
    while path.hasSuffix("/") { path = path.dropLast() }
    self.scheme = prefix == "https://" ? "https" : "http"
    self.host = host
    self.port = port ?? (prefix == "https://" ? 443 : 80)
    self.basePath = String(path)
  }

  private static func split(
    authority: Substring, wrong: (String) -> KubernetesError
  ) throws -> (host: String, port: Int?) {
    var host = authority
    var portText: Substring?
    if authority.hasPrefix("[") {
      guard let end = authority.firstIndex(of: "]") else { throw wrong("has an IPv6 address without \"]\"") }
      host = authority[...end]
      let after = authority[authority.index(after: end)...]
      if !after.isEmpty {
        guard after.hasPrefix(":") else { throw wrong("has something other than a port after \"]\"") }
        portText = after.dropFirst()
      }
    } else if let colon = authority.firstIndex(of: ":") {
      host = authority[..<colon]
      portText = authority[authority.index(after: colon)...]
      guard portText?.contains(":") != true else { throw wrong("has an IPv6 address without brackets") }
    }
    guard !host.isEmpty, host != "[]" else { throw wrong("has no host") }
    guard let portText else { return (String(host), nil) }
    guard let port = Int(portText), (1...65535).contains(port), portText.utf8.allSatisfy({ (0x30...0x39).contains($0) })
    else { throw wrong("has a port that isn't a number from 1 to 65535") }
    return (String(host), port)
  }

  /// Host and port as a `Host` field has them: without the scheme's own port.
  package var authority: String {
    port == (scheme == "https" ? 443 : 80) ? host : "\(host):\(port)"
  }

  package var description: String { "\(scheme)://\(authority)\(basePath)" }
}
