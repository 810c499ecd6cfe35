import CoordinationEngine
import Foundation
import JetStreamEngine
import Logging
import NATSClient
import NATSTestSupport
import NIOHTTP1
import SlowTests
import SwarmCoordination
import TaskQueue
import TaskQueueServer
import Testing

/// A queue on a real nats-server, and an engine of the test's own beside those of the workers.
struct NATSRig: Sendable {
  let server: ServerProcess
  let engine: JetStreamEngine
  let variables: [String: String]

  /// Runs a server around `body`.
  static func with<Result: Sendable>(
    settings: String = "", scheme: String = "nats",
    variables: @Sendable (ServerProcess) -> [String: String] = { _ in [:] },
    _ body: (NATSRig) async throws -> Result
  ) async throws -> Result {
    try await withServer(settings: settings) { server in
      var all = variables(server)
      all["SWARMSCALE_TASKS"] = "\(scheme)://127.0.0.1:\(server.port)"
      all["ANTHROPIC_API_KEY"] = "none"
      let values = all
      let address = try JetStreamAddress(all["SWARMSCALE_TASKS"] ?? "")
      var configuration = try address.configuration(reading: { values[$0] }, file: ProcessFacts.token)
      configuration.client.reconnectBase = .milliseconds(10)
      configuration.client.reconnectLimit = .milliseconds(100)
      configuration.ackWait = .seconds(1)
      let engine = JetStreamEngine(configuration)
      // Owned: ended below.
      let running = Task { try? await engine.run() }
      let result: Swift.Result<Result, any Error>
      do {
        result = .success(try await body(NATSRig(server: server, engine: engine, variables: values)))
      } catch { result = .failure(error) }
      await engine.close()
      running.cancel()
      await running.value
      return try result.get()
    }
  }

  func submit(_ count: Int, queue: String = "q") async throws {
    let tasks = (0..<count).map { NewTask(payload: Array("{\"n\":\($0)}".utf8)) }
    _ = try await engine.tasks.submit(tasks, to: queue)
  }

  func statistics(queue: String = "q") async throws -> TaskQueueStatistics {
    try await engine.tasks.statistics(of: queue)[queue] ?? TaskQueueStatistics()
  }

  /// Joins a swarm whose engine is on the server.
  func join<Result>(slots: Int = 2, _ body: (Swarm) async throws -> Result) async throws -> Result {
    var configuration = try SwarmConfiguration(environment: variables)
    configuration.slots = slots
    configuration.drainsOnTermination = false
    configuration.logger = Logger(label: "worker") { _ in SwiftLogNoOpLogHandler() }
    return try await Swarm.join(configuration, body)
  }

  /// Waits until `count` tasks are done.
  func done(_ count: Int, queue: String = "q") async throws {
    try await eventually { try await statistics(queue: queue).done == count ? true : nil }
  }
}

/// A program beside the test's own.
final class Program: Sendable {
  let process: Process
  private let file: URL

  init(_ name: String, _ arguments: [String], _ environment: [String: String]) throws {
    file = FileManager.default.temporaryDirectory.appendingPathComponent("\(name)-\(UUID().uuidString).log")
    try Data().write(to: file)
    process = Process()
    process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
      .appendingPathComponent(name)
    process.arguments = arguments
    process.environment = environment
    let output = try FileHandle(forWritingTo: file)
    process.standardError = output
    process.standardOutput = output
    try process.run()
  }

  /// A sidecar that serves, and its URL.
  static func sidecar(_ variables: [String: String]) async throws -> (program: Program, url: String) {
    let ready = FileManager.default.temporaryDirectory.appendingPathComponent("ready-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: ready) }
    let program = try Program(
      "swarmscale-sidecar", ["--listen", "127.0.0.1:0", "--ready-file", ready.path], variables)
    let url = try await eventually { () -> String? in
      let text = try String(contentsOf: ready, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
      return text.isEmpty ? nil : text
    }
    return (program, url)
  }

  var log: String { (try? String(contentsOf: file, encoding: .utf8)) ?? "" }

  func end(_ number: Int32) -> Int32 {
    kill(process.processIdentifier, number)
    process.waitUntilExit()
    return process.terminationStatus
  }
}

@Suite("Tasks on NATS, by URL", .alone, .serialized, .enabled(if: hasNATSServer), .timeLimit(.minutes(10)))
struct NATSTests {
  @Test("A worker whose SWARMSCALE_TASKS is nats:// has the engine itself, and works as with a server")
  func works() async throws {
    try await NATSRig.with { rig in
      try await rig.join(slots: 3) { swarm in
        let tasks = try swarm.tasks("q")
        let ids = try await tasks.submit((0..<50).map { SwarmTaskRequest(payload: Array("{\"n\":\($0)}".utf8)) })
        #expect(Set(ids).count == 50)
        let engine = try #require(swarm.engine)
        try await engine.state.put("config.model", [7])
        let done = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            await done.reaches(50)
            try await swarm.agents.drain()
          }
          try await tasks.work { task in
            #expect(swarm.agents.busy <= 3)
            done.add()
            return task.payload
          }
          try await group.waitForAll()
        }
      }
      #expect(try await rig.engine.state.get("config.model")?.value == [7])
      let statistics = try await rig.statistics()
      #expect(statistics.done == 50)
      #expect(statistics.outstanding == 0)
    }
  }

  @Test("C10: a worker that is cancelled or drained hands back what it holds at once")
  func handsBack() async throws {
    try await NATSRig.with { rig in
      try await rig.submit(2)
      let begun = Tally()
      // Owned: cancelled and awaited below.
      let worker = Task {
        try await rig.join(slots: 2) { swarm in
          try await swarm.tasks("q").work { _ in
            begun.add()
            try await Task.sleep(for: .seconds(600))
            return []
          }
        }
      }
      await begun.reaches(2)
      worker.cancel()
      _ = await worker.result
      // Their leases have 30 s left; the wait is for a third of that.
      var claimed: [ClaimedTask] = []
      while claimed.count < 2 {
        let more = try await rig.engine.tasks.claim(
          ClaimRequest(queue: "q", worker: "other", maximum: 2), wait: .seconds(10))
        try #require(!more.isEmpty, "the tasks are still held by a worker that is gone")
        claimed += more
      }
      #expect(claimed.map(\.attempt) == [1, 1], "what is handed back is no attempt")
    }
  }

  @Test("A restart of the servers is survived by workers: all tasks are done, each once")
  func survivesARestart() async throws {
    try await NATSRig.with { rig in
      try await rig.submit(40)
      let (begun, proceed) = (Tally(), Tally())
      try await rig.join(slots: 4) { swarm in
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            await begun.reaches(4)
            rig.server.stop()
            try await rig.server.start()
            proceed.add()
            try await rig.done(40)
            try await swarm.agents.drain()
          }
          try await swarm.tasks("q").work { task in
            begun.add()
            await proceed.reaches(1)
            return task.payload
          }
          try await group.waitForAll()
        }
      }
      let statistics = try await rig.statistics()
      #expect(statistics.done == 40)
      #expect(statistics.dead == 0)
    }
  }

  @Test("The sidecar serves /v1/tasks on NATS with TLS and a password from a file, which it never shows")
  func sidecarWithTLS() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("nats-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.makeCertificates(in: folder)
    try Data("PLANTED\n".utf8).write(to: folder.appendingPathComponent("password"))
    let ready = folder.appendingPathComponent("ready")
    let settings = """
      authorization { user: "swarm", password: "PLANTED" }
      tls { cert_file: "\(folder.path)/server.pem", key_file: "\(folder.path)/server.key" }
      """
    try await NATSRig.with(
      settings: settings, scheme: "tls",
      variables: { _ in
        [
          "SWARMSCALE_NATS_USER": "swarm", "SWARMSCALE_NATS_PASSWORD_FILE": "\(folder.path)/password",
          "SWARMSCALE_NATS_CA_FILE": "\(folder.path)/ca.pem",
        ]
      }
    ) { rig in
      let program = try Program(
        "swarmscale-sidecar", ["--listen", "127.0.0.1:0", "--ready-file", ready.path, "--log-level", "trace"],
        rig.variables.merging(["SWARMSCALE_SLOTS": "4"]) { $1 })
      try await eventually { FileManager.default.fileExists(atPath: ready.path) ? true : nil }
      let url = try String(contentsOf: ready, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
      let worker = TaskQueueLink(try UpstreamAddress(url), clock: SystemClock())
      let made = try await worker.call(.POST, "/v1/tasks", Array(#"{"queue":"q","payload":{"n":1}}"#.utf8))
      #expect(made.status == 201, "\(made.message)")
      let answer = try await worker.call(.POST, "/v1/tasks/next?wait=20", Array(#"{"queue":"q","worker":"py"}"#.utf8))
      let claim = try #require(TaskClaim.claims(answer.body)?.first, "\(answer.message)")
      let step = Array(#"{"epoch":\#(claim.epoch)}"#.utf8)
      #expect(try await worker.call(.POST, "/v1/tasks/\(claim.id)/heartbeat", step).status == 200)
      let late = Array(#"{"epoch":\#(claim.epoch + 1)}"#.utf8)
      #expect(try await worker.call(.POST, "/v1/tasks/\(claim.id)/complete", late).status == 409, "fencing")
      #expect(try await worker.call(.POST, "/v1/tasks/\(claim.id)/complete", step).status == 200)
      #expect(try await rig.statistics().done == 1)
      await worker.shutDown()
      #expect(program.end(SIGTERM) == 0, "\(program.log)")
      #expect(!program.log.contains("PLANTED"))
      #expect(program.log.contains("serving"))
    }
  }

  @Test("A sidecar is a member of the fleet: its /metrics have what the page says, and count the worker beside it")
  func sidecarMetrics() async throws {
    try await NATSRig.with { rig in
      let (program, url) = try await Program.sidecar(
        rig.variables.merging(["SWARMSCALE_SLOTS": "4", "SWARMSCALE_POD": "sidecar-0"]) { $1 })
      let sidecar = TaskQueueLink(try UpstreamAddress(url), clock: SystemClock())
      try await rig.join(slots: 2) { swarm in
        let samples = try await eventually { () -> Samples? in
          let answer = try await sidecar.call(.GET, "/metrics", [])
          let samples = Samples(String(decoding: answer.body, as: UTF8.self))
          return samples["swarmscale_fleet_agents"] == 6 ? samples : nil
        }
        #expect(samples.families.filter { $0.hasPrefix("swarmscale_fleet_") } == (try Samples.documentedFleet()))
        #expect(samples["swarmscale_fleet_pods"] == 2)
        #expect(samples[#"swarmscale_fleet_tier{tier="in-process"}"#] == 1)
      }
      await sidecar.shutDown()
      #expect(program.end(SIGTERM) == 0, "\(program.log)")
    }
  }

  @Test("kill -9 of a worker in the middle of its tasks loses none")
  func killed() async throws {
    let mock = try #require(try? ServerProcess.freePort())
    try await NATSRig.with { rig in
      try await rig.submit(6)
      // No API answers: what the worker has taken it doesn't finish.
      let variables = rig.variables.merging([
        "QUEUE": "q", "ANTHROPIC_UPSTREAM": "http://127.0.0.1:\(mock)", "SWARMSCALE_SLOTS": "6",
      ]) { $1 }
      let worker = try Program("example-local-worker", [], variables)
      try await eventually { try await rig.statistics().leased == 6 ? true : nil }
      _ = worker.end(SIGKILL)
      // Done by whoever comes, once the dead one's leases are over.
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          try await rig.join(slots: 6) { swarm in
            let end = Task {
              try? await rig.done(6)
              try? await swarm.agents.drain()
            }
            try await swarm.tasks("q").work { $0.payload }
            await end.value
          }
        }
        try await group.waitForAll()
      }
      let statistics = try await rig.statistics()
      #expect(statistics.done == 6)
      #expect(statistics.expired == 6)
      #expect(statistics.dead == 0)
    }
  }

  /// An authority and a certificate for 127.0.0.1.
  private static func makeCertificates(in folder: URL) throws {
    let script = """
      set -e; cd "$1"
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=nats -keyout server.key -out server.csr
      printf 'subjectAltName=IP:127.0.0.1' > san
      openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem
      """
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", script, "certificates", folder.path]
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "openssl is needed")
  }
}

/// Addresses alone.
@Suite("Addresses of engines") struct EngineAddressTests {
  @Test("Servers, credentials and parameters are read; no text of it has a secret")
  func reads() throws {
    let address = try JetStreamAddress(
      "nats://swarm:PL%40NTED@n1:4222,n2,[::1]:4223?prefix=team7&replicas=3&sync=always")
    #expect(address.servers.map(\.description) == ["n1:4222", "n2:4222", "[::1]:4223"])
    #expect((address.prefix, address.replicas, address.syncsAlways) == ("team7", 3, true))
    let configuration = try address.configuration(reading: { _ in nil }, file: { _ in nil })
    guard case .userPassword("swarm", "PL@NTED") = configuration.client.authentication else {
      Issue.record("\(configuration.client.authentication)")
      return
    }
    #expect(configuration.replicas == 3)
    for text in ["\(address)", String(reflecting: address), "\(EngineAddress.nats(address))"] {
      #expect(!text.contains("NTED") && text.contains("n2:4222"))
    }
    var dumped = ""
    dump(EngineAddress.nats(address), to: &dumped)
    #expect(!dumped.contains("NTED"))
  }

  @Test("A token stands alone before the @, and tls:// means TLS")
  func token() throws {
    let address = try JetStreamAddress("tls://PLANTED@n1")
    #expect(address.servers.first?.requiresTLS == true)
    guard
      case .token("PLANTED") = try address.configuration(reading: { _ in nil }, file: { _ in nil }).client
        .authentication
    else {
      Issue.record("no token")
      return
    }
  }

  @Test(
    "What can't be meant is refused, and the refusal has no secret",
    arguments: [
      "nats://u:PLANTED@", "nats://u:PLANTED@n1:0", "nats://u:PLANTED@n1?replicas=2", "nats://u:PLANTED@n1?prefix=a.b",
      "nats://u:PLANTED@n1?cluster=x", "nats://:PLANTED@n1", "nats://u:PLANTED%4@n1", "nats://u:PLANTED@n1,,n2",
    ])
  func refuses(_ text: String) throws {
    let error = #expect(throws: SwarmConfigurationError.self) { try EngineAddress(text) }
    let words = try #require(error).description
    #expect(!words.contains("PLANTED"), "\(words)")
    #expect(words.hasPrefix("SWARMSCALE_TASKS"))
  }

  @Test("Credentials come from variables and files, one kind at a time")
  func credentials() throws {
    let address = try JetStreamAddress("nats://n1")
    let seed = NKey.makeSeed(.user)
    func authentication(_ variables: [String: String]) throws -> NATSAuthentication {
      try address.configuration(
        reading: { variables[$0] }, file: { ["/seed": seed, "/word": "PLANTED", "/junk": "PLANTED!"][$0] }
      ).client.authentication
    }
    guard
      case .userPassword("u", "PLANTED") = try authentication([
        "SWARMSCALE_NATS_USER": "u", "SWARMSCALE_NATS_PASSWORD_FILE": "/word",
      ])
    else {
      Issue.record("no password")
      return
    }
    guard case .token("PLANTED") = try authentication(["SWARMSCALE_NATS_TOKEN_FILE": "/word"]) else {
      Issue.record("no token")
      return
    }
    guard case .nkey = try authentication(["SWARMSCALE_NATS_NKEY_FILE": "/seed"]) else {
      Issue.record("no nkey")
      return
    }
    for wrong in [
      ["SWARMSCALE_NATS_NKEY_FILE": "/junk"], ["SWARMSCALE_NATS_TOKEN_FILE": "/nothing"], ["SWARMSCALE_NATS_USER": "u"],
      ["SWARMSCALE_NATS_TOKEN": "PLANTED", "SWARMSCALE_NATS_NKEY_FILE": "/seed"],
      ["SWARMSCALE_NATS_CREDS_FILE": "/junk"], ["SWARMSCALE_NATS_CERT_FILE": "/word"],
    ] {
      let error = #expect(throws: JetStreamAddress.Invalid.self) { try authentication(wrong) }
      #expect(error?.problem.contains("PLANTED") == false)
      #expect(error?.variable?.hasPrefix("SWARMSCALE_NATS_") == true)
    }
  }
}
