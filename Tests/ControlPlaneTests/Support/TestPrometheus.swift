import Foundation
import KubernetesClient
import KubernetesCore
import Synchronization
import TestSupport

/// Whether a real Prometheus can be had beside a control plane: `scripts/test` says where its binary is.
let hasPrometheus = hasControlPlane && ProcessInfo.processInfo.environment["SWARMSCALE_PROMETHEUS"] != nil

/// A real Prometheus on loopback with a target whose series tests set (Tests/Cluster/prometheus_server.py).
///
/// It ends with this process, however that ends: the helper's standard input closes.
final class TestPrometheus: Sendable {
  /// How to reach it.
  struct Description: Decodable, Sendable {
    /// Prometheus itself: TLS and basic authentication.
    var server: String
    /// A front that asks for a bearer token.
    var front: String
    var control: String
    var authority: String
    var user: String
    var password: String
    var token: String
  }

  let description: Description
  private let control: TestConnection
  private let process: Mutex<Process>
  private let input: Pipe

  private init(_ binary: String) throws {
    let process = Process()
    input = Pipe()
    let output = Pipe()
    let helper = TestControlPlane.repository.appendingPathComponent("Tests/Cluster/prometheus_server.py").path
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("swarmscale-prometheus-\(UUID().uuidString.prefix(8))").path
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", helper, "--prometheus", binary, "--dir", folder]
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    var line = Data()
    while line.last != UInt8(ascii: "\n") {
      let data = output.fileHandleForReading.availableData
      guard !data.isEmpty else { throw TestFailure("prometheus_server.py ended; see its words above") }
      line += data
    }
    description = try JSONDecoder().decode(Description.self, from: line)
    control = try TestConnection(ClusterConfiguration(server: description.control))
    self.process = Mutex(process)
  }

  private static let shared = Mutex<TestPrometheus?>(nil)

  /// The one that all tests share; each names its series by its namespace.
  static func running() throws -> TestPrometheus {
    try shared.withLock { shared in
      if let shared { return shared }
      let binary = try unwrap(
        ProcessInfo.processInfo.environment["SWARMSCALE_PROMETHEUS"], "SWARMSCALE_PROMETHEUS in the environment")
      let started = try TestPrometheus(binary)
      shared = started
      return started
    }
  }

  /// Sets the series `queue_depth{fleet="FLEET",shard="N"}`, one for each value; nil removes it.
  func setQueue(_ fleet: String, _ values: [Int?]) async throws {
    let series = values.enumerated().map { shard, value in
      #"{"name":"queue_depth","labels":{"fleet":"\#(fleet)","shard":"\#(shard)"},"value":\#(value.map(String.init) ?? "null")}"#
    }
    try await control.send(.put, "/series", "[\(series.joined(separator: ","))]")
  }

  /// Kills the process.
  func kill() async throws { try await control.send(.post, "/kill", "{}") }

  /// Starts it again on the same port with the same data.
  func start() async throws { try await control.send(.post, "/start", "{}") }
}
