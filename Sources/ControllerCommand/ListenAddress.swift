import ArgumentParser

/// `HOST:PORT` to listen on, such as `127.0.0.1:8080`, `[::]:8080` or `:8080` for every address.
package struct ListenAddress: ExpressibleByArgument, Hashable, Sendable {
  /// The host name or address.
  package var host: String
  /// The port; 0 picks a free one.
  package var port: Int

  /// Names a host and a port.
  package init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Parses `HOST:PORT`; nil for anything else.
  package init?(argument: String) {
    guard let colon = argument.lastIndex(of: ":"), let port = Int(argument[argument.index(after: colon)...]),
      (0...65_535).contains(port)
    else { return nil }
    var host = String(argument[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    self.host = host.isEmpty ? "0.0.0.0" : host
    self.port = port
  }

  /// Whether only this machine can reach it.
  package var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

  package var defaultValueDescription: String { "\(host):\(port)" }
}
