import ArgumentParser
import CoordinationProtocol
import Coordinator
import Foundation
import MockClaude
import MockClaudeServer
import RateBudget
import SidecarCommand
import SlowTests
import SwarmCoordination
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// `swarmscale-sidecar` and `example-worker` themselves, as processes.
@Suite(.alone, .serialized, .timeLimit(.minutes(10))) struct ProgramTests {
  /// A running program.
  private struct Program {
    let process: Process
    private let file: URL

    init(_ arguments: [String], _ environment: [String: String], of name: String = "swarmscale-sidecar") throws {
      file = FileManager.default.temporaryDirectory.appendingPathComponent("\(name)-\(UUID().uuidString).log")
      try Data().write(to: file)
      process = Process()
      // Test bundle and programs are built into the same folder.
      process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appendingPathComponent(name)
      process.arguments = arguments
      process.environment = environment
      let output = try FileHandle(forWritingTo: file)
      process.standardError = output
      process.standardOutput = output
      try process.run()
    }

    /// What it has said so far.
    var log: String { (try? String(contentsOf: file, encoding: .utf8)) ?? "" }

    /// Waits until `condition`, or the program's end.
    func eventually(_ condition: () async throws -> Bool) async throws {
      while process.isRunning, !(try await condition()), !Task.isCancelled { await Task.yield() }
    }

    /// Waits for its end; exit code and log.
    func end() -> (code: Int32, log: String) {
      process.waitUntilExit()
      defer { try? FileManager.default.removeItem(at: file) }
      return (process.terminationStatus, log)
    }
  }

  @Test("The program joins by its environment, serves, and on SIGTERM says goodbye and ends with 0")
  func joins() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("sidecar-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let ready = folder.appendingPathComponent("ready")
    try await MockClaudeServer.withServer(configuration: quickMock()) { mock in
      try await withCoordinator { engine, port in
        let program = try Program(
          ["--listen", "127.0.0.1:0", "--ready-file", ready.path, "--log-level", "trace"],
          podEnvironment("a", coordinator: "http://127.0.0.1:\(port)", upstream: mock.url))
        try await program.eventually { FileManager.default.fileExists(atPath: ready.path) }
        try await program.eventually { await engine.report().workers.count == 1 }
        if program.process.isRunning {
          let url = try String(contentsOf: ready, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
          #expect(try await post(url + "/v1/messages", body: message("<<out=1>>")) == 200)
          #expect(await engine.report().groups.first?.key.modelGroup == "claude")
          #expect(Self.largestCore(of: program.process) == ["0", "0"], "keys and prompts are in its memory")
          program.process.terminate()
        }
        let (code, log) = program.end()
        #expect(code == 0, "\(log)")
        #expect(!log.contains("PLANTED"))
        #expect(await engine.report().workers.isEmpty)
      }
    }
  }

  /// A mock whose answers of 500 tokens end when its clock is moved, and not before.
  private func slowMock() -> MockConfiguration {
    var configuration = quickMock()
    configuration.pace.tokensPerSecond = 1
    return configuration
  }

  @Test(
    "On SIGTERM a worker takes nothing more, keeps its lease while it finishes what it has begun, hands back the rest, ends with 0"
  ) func workerEnds() async throws {
    try await MockClaudeServer.withServer(configuration: slowMock()) { mock in
      try await withCoordinator(configuration: fleetConfiguration(lease: .seconds(1))) { engine, port in
        var environment = podEnvironment("a", coordinator: "http://127.0.0.1:\(port)", upstream: mock.url)
        environment["SWARMSCALE_SLOTS"] = "2"
        let program = try Program(
          (1...5).map { "<<out=500>> question \($0)" }, environment, of: "example-worker")
        func fleet() async -> FleetActivity? { await engine.report().fleets.first }
        try await program.eventually { await fleet()?.busy == 2 }
        try await program.eventually { await fleet()?.inFlight == 2 }
        program.process.terminate()
        try await program.eventually { program.log.contains("taking no new work") }
        // It tells the age of its work every five seconds: five leases in which it must have been heard.
        let age = await engine.report().workers.first?.activity?.oldestAge ?? .zero
        try await program.eventually { (await engine.report().workers.first?.activity?.oldestAge ?? .zero) > age }
        let worker = await engine.report().workers.first
        #expect(worker?.isConnected == true && worker?.activity?.busy == 2 && program.process.isRunning)
        #expect(await engine.report().groups.first?.report.outstanding == 2, "its grants are held")
        mock.clock.advance(to: mock.clock.now + .seconds(10_000))
        let (code, log) = program.end()
        #expect(code == 0, "\(log)")
        #expect((3...5).allSatisfy { log.contains("left for another worker: <<out=500>> question \($0)") }, "\(log)")
        #expect(log.split(separator: "\n").count { !$0.contains("left for") && !$0.contains("swarmscale") } == 2)
        #expect(await engine.report().workers.isEmpty, "it has said goodbye")
        #expect(await engine.report().groups.first?.report.outstanding == 0, "and settled")
        #expect(mock.withAPI { $0.engine.report(at: mock.clock.now) }.pools.first?.admitted == 2)
      }
    }
  }

  @Test("On SIGTERM a sidecar lets an answer finish, takes no new connection, says goodbye and ends with 0")
  func sidecarEnds() async throws {
    let ready = FileManager.default.temporaryDirectory.appendingPathComponent("ready-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: ready) }
    try await MockClaudeServer.withServer(configuration: slowMock()) { mock in
      try await withCoordinator { engine, port in
        let program = try Program(
          ["--listen", "127.0.0.1:0", "--ready-file", ready.path, "--log-level", "trace"],
          podEnvironment("a", coordinator: "http://127.0.0.1:\(port)", upstream: mock.url))
        try await program.eventually { FileManager.default.fileExists(atPath: ready.path) }
        let url = try String(contentsOf: ready, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        async let status = post(url + "/v1/messages", body: message("<<out=500>>"))
        try await program.eventually { await engine.report().fleets.first?.inFlight == 1 }
        program.process.terminate()
        try await program.eventually { program.log.contains("draining") }
        let port = try #require(url.split(separator: ":").last.flatMap { UInt16($0) })
        try await program.eventually { Self.isRefused(port) }
        #expect(program.process.isRunning)
        mock.clock.advance(to: mock.clock.now + .seconds(10_000))
        do { let status = try await status; #expect(status == 200) } catch { Issue.record("\(error): \(program.log)") }
        let (code, log) = program.end()
        #expect(code == 0, "\(log)")
        #expect(await engine.report().workers.isEmpty)
      }
    }
  }

  /// Whether nobody listens at a port of this machine.
  private static func isRefused(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == -1 && errno == ECONNREFUSED
      }
    }
  }

  /// The soft and the hard limit of a process's core file, as the kernel has them; nil: they can't be read.
  private static func largestCore(of process: Process) -> [String]? {
    let limits = try? String(contentsOfFile: "/proc/\(process.processIdentifier)/limits", encoding: .utf8)
    return limits?.split(separator: "\n").first { $0.hasPrefix("Max core file size") }?.split(separator: " ")
      .dropFirst(4).prefix(2).map(String.init)
  }

  @Test("--budget and a coordinator together end with 78, and the log says which to drop")
  func both() throws {
    let environment = podEnvironment("a", coordinator: "https://c:1")
    let (code, log) = try Program(["--budget", "b.yaml"], environment).end()
    #expect(code == 78 && log.contains("drop --budget, or drop the variable SWARMSCALE_COORDINATOR"), "\(log)")
    var flags = environment
    flags["SWARMSCALE_COORDINATOR"] = nil
    let given = try Program(["--budget", "b.yaml", "--coordinator", "https://c:1"], flags).end()
    #expect(given.code == 78 && given.log.contains("or drop --coordinator to govern"), "\(given.log)")
  }

  @Test("A flag stands before its variable")
  func flags() throws {
    let command = try SidecarCommand.parse([
      "--coordinator", "http://127.0.0.1:7", "--pod", "b", "--pod-uid", "u", "--autoscaler", "f", "--slots", "3",
      "--upstream", "http://u",
    ])
    let variables = podEnvironment("a", coordinator: "https://c:1")
    let environment = try command.environment(of: { variables[$0] })
    let identity = environment.identity(incarnation: "i")
    #expect(identity.client == "team/b/i" && identity.uid == "u" && identity.fleetName == "team/f")
    #expect(environment.coordinator?.description == "http://127.0.0.1:7" && environment.slots == 3)
    #expect(environment.upstream.description == "http://u")
  }
}
