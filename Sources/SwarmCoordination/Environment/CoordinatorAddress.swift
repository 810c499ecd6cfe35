/// Where a coordinator is: `https://host:port`, or `http://host:port` without TLS.
package struct CoordinatorAddress: Hashable, Sendable, CustomStringConvertible {
  /// A name or an address; IPv6 without brackets.
  package var host: String
  /// The port.
  package var port: Int
  /// Whether the connection is TLS.
  package var isSecure: Bool

  /// Reads a URL; nil: it isn't one of a coordinator.
  package init?(_ text: String) {
    guard let rest = Self.rest(of: text, after: "https://") ?? Self.rest(of: text, after: "http://") else { return nil }
    isSecure = text.hasPrefix("https://")
    let place = rest.hasSuffix("/") ? rest.dropLast() : rest
    guard let colon = place.lastIndex(of: ":"), let port = Int(place[place.index(after: colon)...]),
      (1...65_535).contains(port)
    else { return nil }
    var host = place[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      return nil
    }
    let isHost = host.utf8.allSatisfy { byte in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || ".-_:%".utf8.contains(byte)
    }
    guard !host.isEmpty, isHost else { return nil }
    self.host = String(host)
    self.port = port
  }

  private static func rest(of text: String, after prefix: String) -> Substring? {
    text.hasPrefix(prefix) ? text.dropFirst(prefix.count) : nil
  }

  /// Whether it is on this machine.
  package var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

  package var description: String {
    "\(isSecure ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
  }
}
