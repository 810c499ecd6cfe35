package import NATSClient

/// Where an engine on JetStream is, as people write it: `nats://host:port,host:port?prefix=sw&replicas=3`, or `tls://`. Who may come in stands in the URL
/// (`user:password@` or `token@`), or better in variables and files, which no list of processes shows. Its text never has a secret in it.
package struct JetStreamAddress: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
  /// The names of the variables.
  package enum Variable {
    /// A user's name, and the password, itself or as a file.
    package static let user = "SWARMSCALE_NATS_USER"
    package static let password = "SWARMSCALE_NATS_PASSWORD"
    package static let passwordFile = "SWARMSCALE_NATS_PASSWORD_FILE"
    /// A token, itself or as a file.
    package static let token = "SWARMSCALE_NATS_TOKEN"
    package static let tokenFile = "SWARMSCALE_NATS_TOKEN_FILE"
    /// A file with the seed of a user's nkey (`SU…`).
    package static let nkeyFile = "SWARMSCALE_NATS_NKEY_FILE"
    /// A file with a user's JWT and seed, as `nsc` writes it.
    package static let credentialsFile = "SWARMSCALE_NATS_CREDS_FILE"
    /// A file with the authorities to trust, in PEM.
    package static let authorityFile = "SWARMSCALE_NATS_CA_FILE"
    /// Files with the client's own certificate and key, in PEM, for servers that ask for one.
    package static let certificateFile = "SWARMSCALE_NATS_CERT_FILE"
    package static let keyFile = "SWARMSCALE_NATS_KEY_FILE"
  }

  /// Why an address, or what belongs to it, can't be used: the variable it is about (nil: the address), and what to do. Never a secret.
  package struct Invalid: Error, Hashable, Sendable {
    package var variable: String?
    package var problem: String

    init(_ problem: String) { self.problem = problem }

    init(_ variable: String, _ problem: String) {
      self.variable = variable
      self.problem = problem
    }
  }

  /// The servers to begin with; others are learned from them.
  package private(set) var servers: [NATSEndpoint] = []
  /// Tells engines that share servers apart.
  package private(set) var prefix = "sw"
  /// Copies of everything: 1, 3 or 5.
  package private(set) var replicas = 1
  /// Whether the servers sync each write (`sync_interval: always`): they don't tell.
  package private(set) var syncsAlways = false
  /// The JetStream domain whose streams are used; nil: that of the server itself.
  package private(set) var domain: String?
  /// What stands before the `@`.
  private var login = Login.none

  private enum Login: Hashable, Sendable {
    case none
    case token(String)
    case user(String, password: String)
  }

  /// Whether a text is meant as such an address.
  package static func isOne(_ text: String) -> Bool { text.hasPrefix("nats://") || text.hasPrefix("tls://") }

  /// Reads an address.
  package init(_ text: String) throws(Invalid) {
    guard Self.isOne(text), let start = text.firstRange(of: "://")?.upperBound else {
      throw Invalid("an address begins with nats:// or tls://, such as nats://nats.swarm:4222")
    }
    let scheme = text[..<start]
    var rest = text[start...]
    if let question = rest.lastIndex(of: "?"), !rest[question...].contains("@") {
      try read(parameters: rest[rest.index(after: question)...])
      rest = rest[..<question]
    }
    if let at = rest.lastIndex(of: "@") {
      try read(login: rest[..<at])
      rest = rest[rest.index(after: at)...]
    }
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    for place in rest.split(separator: ",", omittingEmptySubsequences: false) {
      do throws(NATSError) {
        servers.append(try NATSEndpoint("\(scheme)\(place)"))
      } catch {
        throw Invalid("\(error.message); an address is such as nats://nats-0.nats:4222,nats-1.nats:4222")
      }
    }
  }

  private mutating func read(login text: Substring) throws(Invalid) {
    guard let colon = text.firstIndex(of: ":") else {
      login = .token(try Self.decoded(text))
      return
    }
    login = .user(try Self.decoded(text[..<colon]), password: try Self.decoded(text[text.index(after: colon)...]))
  }

  /// Undoes `%40` and the like.
  private static func decoded(_ text: Substring) throws(Invalid) -> String {
    var bytes: [UInt8] = []
    var left = text.utf8[...]
    while let byte = left.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard left.count >= 2, let value = UInt8(String(decoding: left.prefix(2), as: UTF8.self), radix: 16) else {
        throw Invalid("a % in user, password or token needs two hexadecimal digits after it; % itself is %25")
      }
      bytes.append(value)
      left = left.dropFirst(2)
    }
    guard !bytes.isEmpty else { throw Invalid("user, password or token before the @ is empty") }
    return String(decoding: bytes, as: UTF8.self)
  }

  private mutating func read(parameters text: Substring) throws(Invalid) {
    for pair in text.split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
      let value = parts.count == 2 ? parts[1] : ""
      switch parts.first {
      case "prefix":
        guard (1...32).contains(value.utf8.count), value.utf8.allSatisfy(Self.isAlphanumeric) else {
          throw Invalid("prefix: 1 to 32 letters and digits")
        }
        prefix = value
      case "replicas":
        guard let number = Int(value), [1, 3, 5].contains(number) else { throw Invalid("replicas: 1, 3 or 5") }
        replicas = number
      case "sync":
        guard value == "always" else { throw Invalid("sync: always, where the servers have sync_interval: always") }
        syncsAlways = true
      case "domain":
        guard (1...64).contains(value.utf8.count),
          value.utf8.allSatisfy({ Self.isAlphanumeric($0) || $0 == 0x2D || $0 == 0x5F })
        else { throw Invalid("domain: 1 to 64 letters, digits, - and _, as the hub's servers have it") }
        domain = value
      default:
        throw Invalid("after the ? there may be prefix, replicas, domain and sync, such as ?prefix=sw&replicas=3")
      }
    }
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  package var description: String {
    let scheme = servers.first?.requiresTLS == true ? "tls" : "nats"
    return "\(scheme)://\(servers.map(\.description).joined(separator: ","))"
  }
  package var customMirror: Mirror { Mirror(self, children: ["address": description]) }

  // MARK: Opening

  /// What an engine at this address is made with. `variable` gives the value of an environment variable, `read` a file's text without white space around it.
  ///
  /// - Throws: `Invalid` when what the variables name can't be used.
  package func configuration(
    reading variable: (String) -> String?, file read: (String) -> String?
  ) throws(Invalid) -> JetStreamEngineConfiguration {
    func value(_ name: String) -> String? { variable(name).flatMap { $0.isEmpty ? nil : $0 } }
    var client = NATSConfiguration(servers: servers)
    client.authentication = try authentication(value, read)
    if let tls = try Self.tls(value) {
      client.tls = tls
    }
    var configuration = JetStreamEngineConfiguration(client: client)
    configuration.prefix = prefix
    configuration.replicas = replicas
    configuration.domain = domain
    configuration.syncsAlways = syncsAlways
    return configuration
  }

  private func authentication(
    _ value: (String) -> String?, _ read: (String) -> String?
  ) throws(Invalid) -> NATSAuthentication {
    func text(_ file: String) throws(Invalid) -> String? {
      guard let path = value(file) else { return nil }
      guard let text = read(path), !text.isEmpty else {
        throw Invalid(file, "there is nothing to read at \(path); see that the secret is mounted there")
      }
      return text
    }
    var found: [(String, NATSAuthentication)] = []
    switch login {
    case .none: break
    case .token(let token): found.append(("the address", .token(token)))
    case .user(let user, let password): found.append(("the address", .userPassword(user: user, password: password)))
    }
    if let user = value(Variable.user) {
      guard let password = try text(Variable.passwordFile) ?? value(Variable.password) else {
        throw Invalid(
          Variable.user, "there is no password for it; set \(Variable.passwordFile) or \(Variable.password)")
      }
      found.append((Variable.user, .userPassword(user: user, password: password)))
    }
    if let token = try text(Variable.tokenFile) ?? value(Variable.token) {
      found.append((value(Variable.tokenFile) == nil ? Variable.token : Variable.tokenFile, .token(token)))
    }
    if let seed = try text(Variable.nkeyFile) {
      guard let key = try? NKey(seed: seed) else {
        throw Invalid(Variable.nkeyFile, "the file holds no seed of an nkey (SU…, 58 characters)")
      }
      found.append((Variable.nkeyFile, .nkey(key)))
    }
    if let credentials = try text(Variable.credentialsFile) {
      do throws(NATSError) {
        found.append((Variable.credentialsFile, try NATSAuthentication(credentials: credentials)))
      } catch {
        throw Invalid(Variable.credentialsFile, error.message)
      }
    }
    guard found.count <= 1 else {
      throw Invalid(
        found[1].0, "who comes in is said by \(found.map(\.0).joined(separator: " and by ")); leave one")
    }
    return found.first?.1 ?? .none
  }

  private static func tls(_ value: (String) -> String?) throws(Invalid) -> NATSTLS? {
    let authority = value(Variable.authorityFile)
    var tls = NATSTLS(roots: authority.map { .file($0) } ?? .system)
    switch (value(Variable.certificateFile), value(Variable.keyFile)) {
    case (nil, nil): return authority == nil ? nil : tls
    case (let chain?, let key?):
      tls.certificate = (chain: chain, key: key)
      return tls
    case (nil, _): throw Invalid(Variable.keyFile, "a key needs its certificate: set \(Variable.certificateFile)")
    case (_, nil): throw Invalid(Variable.certificateFile, "a certificate needs its key: set \(Variable.keyFile)")
    }
  }
}
