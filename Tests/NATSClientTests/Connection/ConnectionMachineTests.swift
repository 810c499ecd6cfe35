import NATSTestSupport
import NIOCore
import Testing

@testable import NATSClient

@Suite struct ConnectionMachineTests {
  private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

  private func machine(_ hosts: [String], _ change: (inout NATSConfiguration) -> Void = { _ in }) throws
    -> ConnectionMachine
  {
    var configuration = try NATSConfiguration(urls: hosts)
    configuration.shufflesServers = false
    change(&configuration)
    return ConnectionMachine(configuration, random: SeededRandom(seed: 1))
  }

  private func dial(_ machine: inout ConnectionMachine, _ now: NIODeadline) throws -> ConnectionMachine.Attempt {
    guard case .dial(let attempt) = machine.step(now: now) else { throw Unexpected() }
    return attempt
  }

  private struct Unexpected: Error {}

  @Test("The servers of a round are tried at once, then there is a pause that grows up to its bound")
  func backOff() throws {
    var machine = try machine(["a", "b"]) {
      $0.reconnectBase = .milliseconds(100)
      $0.reconnectLimit = .milliseconds(1000)
    }
    var now = start
    var tried: [String] = []
    var longest: Int64 = 0
    for round in 0..<40 {
      for _ in 0..<2 {
        var step = machine.step(now: now)
        if case .wait(let until?) = step {
          let pause = (until - now).nanoseconds
          longest = max(longest, pause)
          #expect(pause <= min(1_000_000_000, 100_000_000 << min(round, 10)))
          now = until
          step = machine.step(now: now)
        }
        guard case .dial(let attempt) = step else { throw Unexpected() }
        tried.append(attempt.endpoint.host)
        machine.dialFailed(attempt.id, NATSError(.connectTimeout, "no"))
      }
    }
    #expect(tried.prefix(4) == ["a", "b", "a", "b"])
    // Full jitter: over forty rounds some draw comes near the bound.
    #expect(longest > 500_000_000)
  }

  @Test("Attempts in a row have a bound, and a success forgets them")
  func maximumAttempts() throws {
    var machine = try machine(["a"]) {
      $0.maximumAttempts = 2
      $0.reconnectBase = .zero
    }
    var attempt = try dial(&machine, start)
    machine.dialFailed(attempt.id, NATSError(.connectTimeout, "no"))
    attempt = try dial(&machine, start)
    #expect(machine.ready(attempt.id, info: ServerInfo()) == .activate(isReconnect: false))
    #expect(machine.lost(attempt.id, NATSError(.connectionLost, "gone")) == .current)
    for _ in 0..<2 {
      attempt = try dial(&machine, start)
      machine.dialFailed(attempt.id, NATSError(.connectTimeout, "no"))
    }
    #expect(machine.step(now: start) == .finished)
    #expect(machine.failure?.code == .noServers)
  }

  @Test("A server that refuses the credentials twice is left out; when none is left, that is the end")
  func refusals() throws {
    var machine = try machine(["a", "b"]) { $0.reconnectBase = .zero }
    for _ in 0..<4 {
      let attempt = try dial(&machine, start)
      machine.dialFailed(attempt.id, NATSError(.authenticationFailed, "no"))
    }
    #expect(machine.step(now: start) == .finished)
    #expect(machine.failure?.code == .authenticationFailed)
  }

  @Test("A lame duck is left for another server; without one it is kept to its end")
  func lameDuck() throws {
    var info = ServerInfo()
    info.isLameDuck = true
    var alone = try machine(["a"])
    var attempt = try dial(&alone, start)
    _ = alone.ready(attempt.id, info: ServerInfo())
    #expect(alone.updated(attempt.id, info: info) == true)
    #expect(alone.step(now: start) == .wait(until: nil))

    var machine = try machine(["a", "b"])
    attempt = try dial(&machine, start)
    _ = machine.ready(attempt.id, info: ServerInfo())
    let first = attempt.id
    #expect(machine.updated(first, info: info) == true)
    #expect(machine.updated(first, info: info) == false, "it is told once")
    attempt = try dial(&machine, start)
    #expect(attempt.endpoint.host == "b")
    #expect(machine.ready(attempt.id, info: ServerInfo()) == .move(from: first))
    #expect(machine.step(now: start) == .wait(until: nil))
    #expect(machine.lost(first, NATSError(.connectionLost, "gone")) == .moved)
    #expect(machine.activeEndpoint?.host == "b")
  }

  @Test("Two PINGs without an answer end a connection; anything that is heard counts as an answer")
  func watchdog() throws {
    var machine = try machine(["a"])
    let attempt = try dial(&machine, start)
    _ = machine.ready(attempt.id, info: ServerInfo())
    #expect([machine.tick(attempt.id), machine.tick(attempt.id)] == [.ping, .ping])
    machine.heard(attempt.id)
    #expect([machine.tick(attempt.id), machine.tick(attempt.id), machine.tick(attempt.id)] == [.ping, .ping, .stale])
    #expect(machine.tick(99) == .nothing)
  }

  @Test(
    "Discovered servers are used with the TLS and the name of the one that told, and forgotten when no longer named")
  func discovery() throws {
    var random = SeededRandom(seed: 1)
    var pool = ServerPool([try NATSEndpoint("tls://home:4222")], shuffledBy: &random, shuffles: false)
    let home = try #require(pool.endpoints.first)
    pool.discovered(["10.0.0.1:4222", "10.0.0.2:4222", "nonsense:x"], current: home, random: &random, shuffles: false)
    #expect(pool.endpoints.map(\.host) == ["home", "10.0.0.1", "10.0.0.2"])
    #expect(pool.endpoints.dropFirst().allSatisfy { $0.requiresTLS && $0.certificateName == "home" })
    pool.discovered(["10.0.0.2:4222"], current: home, random: &random, shuffles: false)
    #expect(pool.endpoints.map(\.host) == ["home", "10.0.0.2"])
  }

  @Test(
    "Endpoints are read from URLs",
    arguments: [
      ("nats://h", "h:4222"), ("h:1", "h:1"), ("tls://h:1/", "h:1"), ("[::1]:5", "[::1]:5"),
      ("nats://[::1]", "[::1]:4222"),
    ])
  func endpoints(url: String, text: String) throws { #expect(try NATSEndpoint(url).description == text) }

  @Test(
    "Others are refused, credentials in them too",
    arguments: ["", "http://h", "nats://u:p@h", "h:0", "h:x", "h:99999", "[::1]x"])
  func endpointRefusals(url: String) { #expect(throws: NATSError.self) { try NATSEndpoint(url) } }
}

@Suite struct HandshakeTests {
  private func handshake(_ change: (inout NATSConfiguration) -> Void = { _ in }, secure: Bool = false) throws
    -> Handshake
  {
    var configuration = try NATSConfiguration(urls: ["h"])
    change(&configuration)
    return Handshake(configuration, endpoint: configuration.servers[0], isSecure: secure)
  }

  private func connect(_ action: Handshake.Action) throws -> JSONValue {
    guard case .send(let buffer) = action else { return .null }
    let line = String(buffer: buffer).split(separator: "\r\n")
    #expect(line.last == "PING")
    return try JSONValue(parsing: bytes(String(line[0].dropFirst("CONNECT ".count))))
  }

  @Test("INFO, CONNECT and PING, PONG; another INFO in between is taken")
  func plain() throws {
    var handshake = try handshake()
    let options = try connect(try handshake.received(.info(bytes(#"{"server_id":"A","max_payload":9}"#))))
    #expect(options["headers"]?.bool == true && options["user"] == nil && options["tls_required"]?.bool == false)
    #expect(try handshake.received(.info(bytes(#"{"server_id":"B","max_payload":8}"#))) == .none)
    guard case .ready(let info) = try handshake.received(.pong) else {
      Issue.record("not ready")
      return
    }
    #expect(info.serverID == "B" && info.maximumPayload == 8)
  }

  @Test("TLS that was asked for isn't given up where the server offers none, and credentials are sent behind it only")
  func downgrade() throws {
    var refused = try handshake {
      $0.tls = NATSTLS()
      $0.authentication = .token("secret")
    }
    #expect { try refused.received(.info(bytes("{}"))) } throws: { ($0 as? NATSError)?.code == .tlsFailed }
    var secured = try handshake { $0.authentication = .token("secret") }
    #expect(try secured.received(.info(bytes(#"{"tls_required":true}"#))) == .startTLS)
    #expect(throws: NATSError.self) { try secured.received(.pong) }
    secured = try handshake { $0.authentication = .token("secret") }
    _ = try secured.received(.info(bytes(#"{"tls_required":true}"#)))
    #expect(try connect(try secured.secured())["auth_token"]?.string == "secret")
  }

  @Test("An nkey signs the nonce; a server without one is told so")
  func nkey() throws {
    let key = try NKey(seed: NKey.makeSeed(.user))
    var handshake = try handshake { $0.authentication = .nkey(key) }
    let options = try connect(try handshake.received(.info(bytes(#"{"nonce":"abc"}"#))))
    #expect(options["nkey"]?.string == key.publicKey)
    #expect(Base64URL.decode(options["sig"]?.string ?? "")?.count == 64)
    var other = try self.handshake { $0.authentication = .nkey(key) }
    #expect { try other.received(.info(bytes("{}"))) } throws: { ($0 as? NATSError)?.code == .authenticationFailed }
  }

  @Test("Something else than a server is named as such")
  func notNATS() throws {
    var handshake = try handshake()
    #expect { try handshake.received(.pong) } throws: { ($0 as? NATSError)?.code == .protocolViolation }
    var refused = try self.handshake()
    #expect { try refused.received(.error("Authorization Violation")) } throws: {
      ($0 as? NATSError)?.code == .authenticationFailed
    }
  }
}

@Suite struct NKeyTests {
  @Test("The seed of NATS's own documentation has its public key; what is printed never holds the seed")
  func known() throws {
    // github.com/nats-io/nkeys, README.
    let seed = "SUAKYRHVIOREXV7EUZTBHUHL7NUMHPMAS7QMDU3GTIUWEI5LDNOXD43IZY"
    let key = try NKey(seed: seed)
    #expect(key.publicKey.hasPrefix("U") && key.publicKey.utf8.count == 56)
    #expect(
      !"\(key) \(String(reflecting: key)) \(Mirror(reflecting: key).children.map { "\($0.value)" })".contains(seed))
  }

  @Test("Every kind comes back from its seed, and damaged seeds are refused")
  func seeds() throws {
    for kind in NKey.Kind.allCases { #expect(try NKey(seed: NKey.makeSeed(kind)).publicKey.utf8.count == 56) }
    var seed = Array(NKey.makeSeed(.user))
    seed[20] = seed[20] == "A" ? "B" : "A"
    #expect(throws: NKey.SeedError.wrongChecksum) { try NKey(seed: String(seed)) }
    #expect(throws: NKey.SeedError.notBase32) { try NKey(seed: "1") }
    #expect(throws: NKey.SeedError.wrongLength) { try NKey(seed: "SUAA") }
    let key = try NKey(seed: NKey.makeSeed(.user))
    #expect(throws: NKey.SeedError.self) { try NKey(seed: key.publicKey) }
  }

  @Test("A .creds file gives the JWT and its key")
  func credentials() throws {
    let seed = NKey.makeSeed(.user)
    let text = """
      -----BEGIN NATS USER JWT-----
      abc.def.ghi
      ------END NATS USER JWT------

      ************************* IMPORTANT *************************
      -----BEGIN USER NKEY SEED-----
      \(seed)
      ------END USER NKEY SEED------
      """
    guard case .jwt(let jwt, let key) = try NATSAuthentication(credentials: text) else {
      Issue.record("no jwt")
      return
    }
    #expect(jwt == "abc.def.ghi")
    #expect(try key.publicKey == NKey(seed: seed).publicKey)
    #expect(throws: NATSError.self) { try NATSAuthentication(credentials: "nothing") }
  }
}

@Suite struct RequestTableTests {
  @Test("Seeded: each request is answered or expires, once, and none before its time")
  func once() {
    for seed in 0..<50 {
      var random = SeededRandom(seed: UInt64(seed))
      var table = RequestTable<Int64>()
      var open: [UInt64: Int64] = [:]
      var now: Int64 = 0
      for _ in 0..<2000 {
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
          let id = table.makeID()
          let deadline = now + Int64.random(in: 1...100, using: &random)
          table.insert(id, deadline, deadline: .uptimeNanoseconds(UInt64(deadline)))
          open[id] = deadline
        case 1:
          guard let id = open.keys.sorted().randomElement(using: &random) else { continue }
          #expect(table.take(id) == open.removeValue(forKey: id))
          #expect(table.take(id) == nil)
        default:
          now += Int64.random(in: 0...20, using: &random)
          let due = open.filter { $0.value <= now }
          if let first = due.values.min() {
            #expect(table.nextDeadline.map { $0 <= .uptimeNanoseconds(UInt64(first)) } == true)
          }
          #expect(table.expire(now: .uptimeNanoseconds(UInt64(now))).sorted() == due.values.sorted())
          open = open.filter { $0.value > now }
        }
        #expect(table.count == open.count)
      }
    }
  }
}

@Suite struct SubscriptionRegistryTests {
  @Test("A new connection is told what is left of each subscription, in order")
  func resubscribe() {
    var registry = SubscriptionRegistry<Int>()
    let first = registry.add(subject: "a", queue: nil, maximum: 5, sink: 1)
    _ = registry.add(subject: "b", queue: "q", sink: 2)
    _ = registry.delivered(first, count: 2)
    var buffer = ByteBuffer()
    registry.resubscribe(into: &buffer)
    #expect(String(buffer: buffer) == "SUB a 1\r\nUNSUB 1 3\r\nSUB b q 2\r\n")
    #expect(registry.limit(first, to: 4)?.remaining == 2)
    let last = registry.delivered(first, count: 9)
    #expect(last?.accepted == 2 && last?.isLast == true)
    #expect(registry.delivered(first, count: 1) == nil)
  }
}
