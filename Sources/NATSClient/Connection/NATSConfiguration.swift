import NIOCore
import NIOSSL

/// Where a server listens.
package struct NATSEndpoint: Sendable, Hashable, CustomStringConvertible {
  package var host: String
  package var port: Int
  /// TLS even where the server wouldn't insist (`tls://`).
  package var requiresTLS: Bool
  /// The name that the certificate is checked against where `host` was learned from a server, as an address.
  package var certificateName: String?

  package init(host: String, port: Int = 4222, requiresTLS: Bool = false) {
    self.host = host
    self.port = port
    self.requiresTLS = requiresTLS
  }

  /// Reads `host`, `host:port`, `[v6]:port`, with `nats://` or `tls://` before it. Credentials don't belong into it.
  package init(_ url: String) throws(NATSError) {
    var rest = url[...]
    var requiresTLS = false
    if rest.hasPrefix("nats://") {
      rest = rest.dropFirst(7)
    } else if rest.hasPrefix("tls://") {
      rest = rest.dropFirst(6)
      requiresTLS = true
    } else if rest.contains("://") {
      throw NATSError(.invalidArgument, "a server's URL begins with nats:// or tls://")
    }
    while rest.last == "/" { rest = rest.dropLast() }
    guard !rest.contains("@") else {
      throw NATSError(.invalidArgument, "credentials go into the configuration's authentication, not into a URL")
    }
    var port = 4222
    let host: Substring
    if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
      host = rest[rest.index(after: rest.startIndex)..<end]
      rest = rest[rest.index(after: end)...]
    } else if let colon = rest.lastIndex(of: ":"), rest.firstIndex(of: ":") == colon {
      host = rest[..<colon]
      rest = rest[colon...]
    } else {
      host = rest
      rest = ""
    }
    if rest.hasPrefix(":") {
      guard let number = Int(rest.dropFirst()), (1...65535).contains(number) else {
        throw NATSError(.invalidArgument, "the port of \(host) isn't a number from 1 to 65535")
      }
      port = number
    } else if !rest.isEmpty {
      throw NATSError(.invalidArgument, "\(host) is followed by something that is no port")
    }
    guard !host.isEmpty else { throw NATSError(.invalidArgument, "a server's URL has no host") }
    self.init(host: String(host), port: port, requiresTLS: requiresTLS)
  }

  package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Who the client is. Its description never holds a secret.
package enum NATSAuthentication: Sendable, CustomStringConvertible, CustomReflectable {
  case none
  case userPassword(user: String, password: String)
  case token(String)
  /// A user's nkey: the server knows its public part.
  case nkey(NKey)
  /// A user's JWT with the seed that it names, as in a `.creds` file.
  case jwt(String, NKey)

  /// Reads a `.creds` file's text.
  package init(credentials text: String) throws(NATSError) {
    guard let jwt = Self.block("NATS USER JWT", in: text), let seed = Self.block("USER NKEY SEED", in: text) else {
      throw NATSError(.invalidArgument, "the credentials lack the block NATS USER JWT or USER NKEY SEED")
    }
    do throws(NKey.SeedError) {
      self = .jwt(jwt, try NKey(seed: seed))
    } catch {
      throw NATSError(.invalidArgument, "the credentials' seed can't be used", cause: error)
    }
  }

  private static func block(_ name: String, in text: String) -> String? {
    var isInside = false
    for line in text.split(whereSeparator: \.isNewline) {
      if line.contains("BEGIN \(name)") {
        isInside = true
      } else if isInside {
        let value = line.filter { !$0.isWhitespace }
        if !value.isEmpty { return value.hasPrefix("---") ? nil : value }
      }
    }
    return nil
  }

  package var description: String {
    switch self {
    case .none: "none"
    case .userPassword(let user, _): "user \(user)"
    case .token: "token"
    case .nkey(let key): "nkey \(key.publicKey)"
    case .jwt(_, let key): "jwt of \(key.publicKey)"
    }
  }
  package var customMirror: Mirror { Mirror(self, children: ["kind": description]) }
}

/// How TLS is done.
package struct NATSTLS: Sendable {
  /// Whom to trust.
  package enum Roots: Sendable {
    case system
    /// A file with certificates in PEM.
    case file(String)
  }

  package var roots = Roots.system
  /// The client's own certificate chain and key, files in PEM, where the server asks for one.
  package var certificate: (chain: String, key: String)?
  /// TLS before INFO (`handshake_first` of the server).
  package var handshakeFirst = false

  package init(roots: Roots = .system, certificate: (chain: String, key: String)? = nil, handshakeFirst: Bool = false) {
    self.roots = roots
    self.certificate = certificate
    self.handshakeFirst = handshakeFirst
  }

  /// Reads the files.
  func makeContext() throws(NATSError) -> NIOSSLContext {
    do {
      var tls = TLSConfiguration.makeClientConfiguration()
      tls.minimumTLSVersion = .tlsv12
      if case .file(let path) = roots { tls.trustRoots = .file(path) }
      if let certificate {
        tls.certificateChain = try NIOSSLCertificate.fromPEMFile(certificate.chain).map { .certificate($0) }
        tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: certificate.key, format: .pem))
      }
      return try NIOSSLContext(configuration: tls)
    } catch {
      throw NATSError(.tlsFailed, "the certificates or the key of the TLS configuration can't be read", cause: error)
    }
  }
}

/// What a client is made of.
package struct NATSConfiguration: Sendable {
  /// Where to begin; further servers of the cluster are learned.
  package var servers: [NATSEndpoint]
  /// Shown in the server's lists of connections.
  package var name = "swarmscale"
  package var authentication = NATSAuthentication.none
  /// Nil: TLS with the system's roots where an endpoint or the server asks for it.
  package var tls: NATSTLS?

  /// Until TCP, TLS and the server's PONG are there. nats.go's is 2 s.
  package var connectTimeout: Duration = .seconds(2)
  /// The first wait is drawn from zero to this; each round through all servers doubles it.
  package var reconnectBase: Duration = .milliseconds(100)
  /// No wait is longer.
  package var reconnectLimit: Duration = .seconds(4)
  /// Attempts to connect in a row after which `run()` fails; nil: never.
  package var maximumAttempts: Int?
  /// Whether the first server is drawn at random, which spreads a fleet over the cluster.
  package var shufflesServers = true
  /// Whether servers that INFO names are used.
  package var followsDiscoveredServers = true

  /// A PING after this long without one; two unanswered ones end the connection. The server's own is 2 min, too slow for leases of 30 s.
  package var pingInterval: Duration = .seconds(10)
  package var maximumPingsOutstanding = 2

  /// Bytes that are kept while there is no connection.
  package var reconnectBufferBytes = 8 * 1024 * 1024
  /// Publishers wait while more bytes than this are on their way to the socket.
  package var outboundHighWater = 4 * 1024 * 1024

  /// How long a request waits where the caller says nothing.
  package var requestTimeout: Duration = .seconds(5)
  /// How long a graceful shutdown waits for subscriptions to be worked off.
  package var drainTimeout: Duration = .seconds(30)
  /// Limits of what the server may send.
  package var parserLimits = ProtocolParser.Limits()
  /// Makes jitter and inboxes repeatable in tests; nil: the system's randomness.
  package var randomSeed: UInt64?

  package init(servers: [NATSEndpoint]) {
    self.servers = servers
  }

  /// Servers by URL.
  package init(urls: [String]) throws(NATSError) {
    var servers: [NATSEndpoint] = []
    for url in urls { servers.append(try NATSEndpoint(url)) }
    self.init(servers: servers)
  }
}

/// SplitMix64: small, seedable, good enough for jitter and names.
package struct SeededRandom: RandomNumberGenerator, Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }

  /// Letters and digits.
  mutating func name(length: Int) -> String {
    let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
    return String(decoding: (0..<length).map { _ in alphabet[Int.random(in: 0..<62, using: &self)] }, as: UTF8.self)
  }
}
