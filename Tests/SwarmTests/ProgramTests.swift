import ArgumentParser
import CoordinationProtocol
import Coordinator
import Foundation
import MockClaudeServer
import RateBudget
import SidecarCommand
import SwarmCoordination
import Testing

/// `swarmscale-sidecar` itself, as a process.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ProgramTests {
  /// A running program.
  private struct Program {
    let process: Process
    let log: Pipe

    init(_ arguments: [String], _ environment: [String: String]) throws {
      process = Process()
      log = Pipe()
      // Test bundle and programs are built into the same folder.
      process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appendingPathComponent("swarmscale-sidecar")
      process.arguments = arguments
      process.environment = environment
      process.standardError = log
      process.standardOutput = log
      try process.run()
    }

    /// Waits for its end; exit code and log.
    func end() -> (code: Int32, log: String) {
      let text = String(decoding: log.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      return (process.terminationStatus, text)
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
        try await eventually { FileManager.default.fileExists(atPath: ready.path) || !program.process.isRunning }
        try await eventually { await engine.report().workers.count == 1 || !program.process.isRunning }
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
