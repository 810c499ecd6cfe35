import Foundation
import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import KubernetesRuntime
import TestSupport

/// Whether a real control plane can be had: `scripts/test` says where its binaries are.
let hasControlPlane = ProcessInfo.processInfo.environment["SWARMSCALE_KUBERNETES_BINARIES"] != nil

/// What `scripts/control-plane up` wrote to `state.json`, as far as tests need it.
struct ControlPlaneState: Decodable, Sendable {
  struct Tokens: Decodable, Sendable {
    var admin: String
    var adminSecond: String
    var nobody: String
    var invalid: String
  }

  var server: String
  var caFile: String
  var kubeconfig: String
  var kubeconfigCert: String
  var kubeconfigFaults: String?
  var tokens: Tokens
  var tokenFile: String
  var controlURL: String
  var faultControlURL: String?
}

/// A real etcd, kube-apiserver and kube-controller-manager with a test node, in a folder of its own.
///
/// Everything ends with this process, however it ends.
actor TestControlPlane {
  /// The one that suites share; each test has a namespace of its own.
  static let shared = TestControlPlane()

  static let repository = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private var started: Task<ControlPlaneState, any Error>?
  private let options: [String]
  nonisolated let folder = FileManager.default.temporaryDirectory
    .appendingPathComponent("swarmscale-tests-\(UUID().uuidString.prefix(8))").path

  init(options: [String] = ["--fault-proxy"]) {
    self.options = options
  }

  /// Starts the control plane on the first call and waits for it on each.
  func state() async throws -> ControlPlaneState {
    if let started { return try await started.value }
    let task = Task { try await self.start() }
    started = task
    return try await task.value
  }

  private func start() async throws -> ControlPlaneState {
    let pid = String(ProcessInfo.processInfo.processIdentifier)
    try await run(["up", folder, "--watch-pid", pid] + options)
    let data = try Data(contentsOf: URL(fileURLWithPath: folder + "/state.json"))
    let state = try JSONDecoder().decode(ControlPlaneState.self, from: data)
    let definitions = Self.repository.appendingPathComponent("manifests/crd").path
    try await kubectl(state, ["apply", "-k", definitions])
    try await kubectl(
      state, ["wait", "--for=condition=Established", "crd/swarmautoscalers.swarmscale.dev", "--timeout=60s"])
    return state
  }

  /// Runs kubectl as an administrator.
  private func kubectl(_ state: ControlPlaneState, _ arguments: [String]) async throws {
    let result = try await runTool("/usr/bin/env", ["kubectl", "--kubeconfig", state.kubeconfig] + arguments)
    guard result.status == 0 else {
      throw TestFailure("kubectl \(arguments.joined(separator: " ")): \(result.err)")
    }
  }

  /// Runs `scripts/control-plane`.
  nonisolated func run(_ arguments: [String]) async throws {
    let result = try await runTool(Self.repository.appendingPathComponent("scripts/control-plane").path, arguments)
    guard result.status == 0 else {
      throw TestFailure("control-plane \(arguments.joined(separator: " ")): \(result.err.suffix(2_000))")
    }
  }

  /// Ends it.
  func stop() async throws {
    try await run(["down", folder])
  }
}

/// A connection to an API server or to a control endpoint.
final class TestConnection: Sendable {
  let transport: CurlTransport
  let client: APIClient
  let time = SystemTimeSource()

  /// Connects as a kubeconfig says.
  convenience init(kubeconfig: String, context: String? = nil) throws {
    try self.init(loadClusterConfiguration(explicitPath: kubeconfig, context: context, environment: [:]))
  }

  init(_ configuration: ClusterConfiguration) throws {
    transport = try CurlTransport(
      configuration: configuration,
      credentials: credentialProvider(for: configuration, environment: [:], timeSource: time),
      userAgent: "swarmscale-tests", timeSource: time)
    client = APIClient(transport: transport, time: time)
  }

  /// Sends JSON text and gives the answer's text; throws for statuses from 300 on.
  @discardableResult
  func send(_ method: APIRequest.Method, _ path: String, _ json: String? = nil) async throws -> String {
    let parts = path.split(separator: "?", maxSplits: 1)
    let query: [APIRequest.QueryItem] =
      parts.count < 2
      ? []
      : parts[1].split(separator: "&").map { item in
        let pair = item.split(separator: "=", maxSplits: 1).map(String.init)
        return APIRequest.QueryItem(pair[0], pair.count > 1 ? pair[1] : "")
      }
    let type = method == .patch ? "application/merge-patch+json" : "application/json"
    let request = APIRequest(
      method: method, path: String(parts[0]), query: query,
      headers: json == nil ? [] : [.init("Content-Type", type)], body: json.map { Array($0.utf8) })
    return String(decoding: try await client.raw(request).body, as: UTF8.self)
  }
}
