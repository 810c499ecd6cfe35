import Foundation
import KubernetesCore
import KubernetesRuntime
import Logging
import ProcessNode
import ServiceLifecycle
import TestSupport
import Testing

/// A node with real processes and an API server in memory.
struct NodeRig: Sendable {
  let api: FakePodAPI
  let node: ProcessNode
  let folder: String

  /// Test bundle and programs are built into the same folder.
  static let shim = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    .appendingPathComponent("swarmscale-shim").path

  /// Runs a node for the time of `body`, and looks afterwards that it has left nothing behind.
  static func with(
    api: FakePodAPI = FakePodAPI(), environment: [String: String] = ["PATH": "/usr/local/bin:/usr/bin:/bin"],
    configure: (inout NodeConfiguration) -> Void = { _ in }, endsGracefully: Bool = false,
    _ body: @escaping @Sendable (NodeRig) async throws -> Void
  ) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("node-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var configuration = NodeConfiguration(
      name: "test", stateFolder: folder, shimPath: shim, maximumPods: 300, cpu: Quantity(1_000),
      // Suites run side by side.
      addressBlock: Int.random(in: 0..<1_024), samplingPeriod: .milliseconds(100), shutdownGrace: .seconds(2))
    configure(&configuration)
    let time = SystemTimeSource()
    let client = APIClient(transport: api, time: time)
    var logger = Logger(label: "node")
    logger.logLevel = .critical
    let node = try ProcessNode(configuration, client: client, environment: environment, logger: logger)
    let rig = NodeRig(api: api, node: node, folder: folder)
    let group = ServiceGroup(configuration: .init(services: [node], logger: logger))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask {
        do { try await group.run() } catch is CancellationError {}
      }
      try await body(rig)
      if endsGracefully {
        await group.triggerGracefulShutdown()
        try await tasks.waitForAll()
      }
      tasks.cancelAll()
    }
    #expect(Self.processes(of: folder).isEmpty, "processes outlive their node")
  }

  /// The processes that were started with something of this folder in their environment.
  static func processes(of folder: String) -> [Int32] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int32($0) }.filter { pid in
      let text = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
      return text.range(of: Data("SWARMSCALE_TEST_FOLDER=\(folder)".utf8)) != nil
        || text.range(of: Data("\(folder)/".utf8)) != nil
    }
  }

  /// Creates a pod with one container `main` that runs a shell script.
  func run(
    _ name: String, _ script: String, policy: String = "Always", container: String = "", spec: String = ""
  ) throws {
    let command = String(decoding: JSONValue.array(["sh", "-c", .string(script)]).text, as: UTF8.self)
    try api.create(
      name,
      #"""
      {"restartPolicy":"\#(policy)","containers":[{"name":"main","image":"none","command":\#(command),
       "env":[{"name":"SWARMSCALE_TEST_FOLDER","value":"\#(folder)"}]\#(container)}]\#(spec)}
      """#)
  }

  /// All of a container's output.
  func output(_ pod: String, _ options: PodLogOptions = PodLogOptions()) async throws -> String {
    var bytes: [UInt8] = []
    for try await piece in try node.log(of: ObjectKey(namespace: "ns", name: pod), options) { bytes += piece }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The output that comes up to a line that begins with `prefix`, while the container runs.
  func line(_ pod: String, _ prefix: String) async throws -> String {
    let key = ObjectKey(namespace: "ns", name: pod)
    // The log is there as soon as the process is, which may be before or after the status says so.
    try await eventually { (try? node.log(of: key, PodLogOptions())) != nil }
    var text = ""
    for try await piece in try node.log(of: ObjectKey(namespace: "ns", name: pod), PodLogOptions(follow: true)) {
      text += String(decoding: piece, as: UTF8.self)
      for line in text.split(separator: "\n") where line.hasPrefix(prefix) {
        return String(line.dropFirst(prefix.count))
      }
    }
    throw TestFailure("\(pod) never said \(prefix): \(text)")
  }

  /// Suspends until a pod's Ready condition holds.
  @discardableResult
  func ready(_ pod: String) async -> JSONValue? {
    await api.pod(pod) { pod in
      pod?[path: ["status", "conditions"]]?.arrayValue?.contains {
        $0["type"]?.stringValue == "Ready" && $0["status"]?.stringValue == "True"
      } ?? false
    }
  }

  /// Suspends until a pod's phase is the one given.
  @discardableResult
  func phase(_ pod: String, _ phase: String) async -> JSONValue? {
    await api.pod(pod) { $0?[path: ["status", "phase"]]?.stringValue == phase }
  }
}

/// Whether a process exists.
func exists(_ pid: String) -> Bool { FileManager.default.fileExists(atPath: "/proc/\(pid)") }

/// Looks every 20 ms until `condition` holds, for what tells nobody when it happens.
///
/// The bound is generous, so that a busy machine doesn't fail a test; it only ends one that would hang.
func eventually(attempts: Int = 3_000, _ condition: () async throws -> Bool) async throws {
  let time = SystemTimeSource()
  for _ in 0..<attempts {
    if try await condition() { return }
    try await time.sleep(for: .milliseconds(20))
  }
  throw TestFailure("waited in vain")
}
