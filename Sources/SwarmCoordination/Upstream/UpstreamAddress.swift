/// Where the API is: `https://host`, or `http://host` without TLS, with a port and a path if need be.
package struct UpstreamAddress: Hashable, Sendable, CustomStringConvertible {
  /// A name or an address; IPv6 without brackets.
  package let host: String
  /// The port.
  package let port: Int
  /// Whether connections are TLS.
  package let isSecure: Bool
  /// What stands before the path of every request; empty: nothing.
  package let path: String
  /// The header `host`: the port is left out where the scheme says it.
  let authority: String

  /// Reads a URL.
  ///
  /// - Throws: `SwarmConfigurationError` that names `variable`.
  package init(
    _ text: String, variable: String = SwarmEnvironment.Variable.upstream,
    example: String = SwarmEnvironment.defaultUpstream
  ) throws(SwarmConfigurationError) {
    let invalid = SwarmConfigurationError(variable, text, "a URL is needed, such as \(example)")
    guard let (isSecure, rest) = Self.scheme(of: text) else { throw invalid }
    let place = rest.prefix { $0 != "/" }
    let path = rest[place.endIndex...]
    guard let (host, port) = Self.place(place), path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
      !path.contains(where: { $0 == "?" || $0 == "#" })
    else { throw invalid }
    let usual = isSecure ? 443 : 80
    let name = host.contains(":") ? "[\(host)]" : host
    self.isSecure = isSecure
    self.host = host
    self.port = port ?? usual
    self.path = String(path.hasSuffix("/") ? path.dropLast() : path)
    authority = self.port == usual ? name : "\(name):\(self.port)"
  }

  /// The name that a certificate must have; nil: that of the address.
  var serverName: String? {
    let isAddress = host.contains(":") || host.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }
    return isAddress ? nil : host
  }

  package var description: String { "\(isSecure ? "https" : "http")://\(authority)\(path)" }

  private static func scheme(of text: String) -> (isSecure: Bool, rest: Substring)? {
    for (scheme, isSecure) in [("https://", true), ("http://", false)] where text.hasPrefix(scheme) {
      return (isSecure, text.dropFirst(scheme.count))
    }
    return nil
  }

  /// `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
  private static func place(_ text: Substring) -> (host: String, port: Int?)? {
    var (host, rest) = (text, Substring())
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return nil }
      host = text[text.index(after: text.startIndex)..<end]
      rest = text[text.index(after: end)...]
      guard host.contains(":") else { return nil }
    } else if let colon = text.firstIndex(of: ":") {
      host = text[..<colon]
      rest = text[colon...]
    }
    let isHost = host.utf8.allSatisfy { byte in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || ".-_:%".utf8.contains(byte)
    }
    guard !host.isEmpty, isHost else { return nil }
    if rest.isEmpty { return (String(host), nil) }
    guard rest.hasPrefix(":"), let port = Int(rest.dropFirst()), (1...65_535).contains(port) else { return nil }
    return (String(host), port)
  }
}
