import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import KubernetesRuntime
import LocalCluster
import Logging
import ProcessNode
import ServiceLifecycle

/// The node, the system's pods and the user's objects, once the API server is there; says what happens.
struct LocalFleet: Service {
  static let coordinatorVariable = "SWARMSCALE_COORDINATOR"
  static let upstreamVariable = "ANTHROPIC_UPSTREAM"
  static let beginVariable = "SWARMSCALE_LOCAL_BEGIN"

  var pods: SystemPods
  var objects: [JSONValue]
  var endpoints: AsyncStream<LocalClusterEndpoint>
  var sources: NodeSources
  var node: NodeConfiguration
  var upstream: String?
  /// When local mode began, in seconds since 1970.
  var begin: Int64
  var time: any TimeSource
  var logger: Logger

  func run() async throws {
    var endpoint: LocalClusterEndpoint?
    for await first in endpoints.cancelOnGracefulShutdown() {
      endpoint = first
      break
    }
    guard let endpoint else { return }
    let configuration = try loadClusterConfiguration(explicitPath: pods.kubeconfig, context: nil, environment: [:])
    let transport = try CurlTransport(
      configuration: configuration,
      credentials: credentialProvider(for: configuration, environment: [:], timeSource: time),
      userAgent: "swarmscale-local", timeSource: time)
    let client = APIClient(transport: transport, time: time)
    let node = try ProcessNode(self.node, client: client, environment: environment, logger: logger)
    sources.connect(node)
    say(
      """
      API server:  \(endpoint.server)
      kubeconfig:  \(pods.kubeconfig)
      page:        http://\(pods.listen)/
      Claude API:  \(upstream ?? "mock-claude at \(environment[Self.upstreamVariable] ?? "")")
      """)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await node.run() }
      group.addTask {
        do {
          try await cancelWhenGracefulShutdown { try await start(client) }
        } catch is CancellationError where Task.isShuttingDownGracefully {}
      }
      // The node ends at graceful shutdown; the rest before it, or with an error that ends the node.
      defer { group.cancelAll() }
      for try await _ in group {}
    }
    await transport.shutdown()
  }

  /// What containers get of this process's variables.
  private var environment: [String: String] {
    var environment: [String: String] = [:]
    for name in ["HOME", "LANG", "TMPDIR"] { environment[name] = ProcessVariables.value(of: name) }
    // swarmscale-sidecar and its like are found without a path.
    environment["PATH"] = "\(pods.folder):\(ProcessVariables.value(of: "PATH") ?? "/usr/bin:/bin")"
    environment[Self.coordinatorVariable] = "http://\(pods.coordinator)"
    environment[Self.beginVariable] = "\(begin)"
    environment[Self.upstreamVariable] = upstream ?? pods.mock.map { "http://127.0.0.1:\($0.port)" }
    return environment
  }

  private func start(_ client: APIClient) async throws {
    let applier = Applier(client: client, fieldManager: "swarmscale-local")
    for object in pods.objects { try await applier.apply(object) }
    for (index, object) in objects.enumerated() {
      do {
        say("applied \(try await applier.apply(object))")
      } catch let error as KubernetesError {
        throw LocalModeError("object \(index + 1) of the files is refused: \(error.message)")
      }
    }
    try await watch(client)
  }

  /// Tells what changes: in place on a terminal, otherwise by a line for each change.
  private func watch(_ client: APIClient) async throws {
    var shown: [String: String] = [:]
    var board = StatusBoard()
    let output = StatusOutput.standard
    defer { output.finish() }
    while true {
      try await time.sleep(for: .seconds(1))
      for (pod, line) in try await troubles(client) where shown[pod] != line {
        shown[pod] = line
        say("\(time.wallNow.rfc3339)  \(pod): \(line)")
      }
      let fleets = try await list("swarmautoscalers", client).compactMap(FleetStatus.init)
      guard output.isTerminal else {
        for fleet in fleets where shown[fleet.name] != fleet.line {
          shown[fleet.name] = fleet.line
          say("\(time.wallNow.rfc3339)  \(fleet.name): \(fleet.line)")
        }
        continue
      }
      board.update(fleets: fleets, budgets: try await list("apibudgets", client).compactMap(BudgetStatus.init))
      output.show(board)
    }
  }

  /// A line for each pod of the system that doesn't stay up, such as a controller whose port is taken.
  private func troubles(_ client: APIClient) async throws -> [(name: String, line: String)] {
    let response = try await client.raw(
      APIRequest(
        path: "/api/v1/namespaces/\(SystemPods.namespace)/pods", headers: [.init("Accept", "application/json")]))
    let items = try JSONValue(parsing: response.body)["items"]?.arrayValue ?? []
    return items.compactMap { item in
      guard let name = item["metadata"]?["name"]?.stringValue,
        item["status"]?["containerStatuses"]?[0]?["state"]?["waiting"]?["reason"]?.stringValue == "CrashLoopBackOff"
      else { return nil }
      return (
        name,
        "it doesn't stay up; see why: kubectl --kubeconfig \(pods.kubeconfig) -n \(SystemPods.namespace) logs \(name)"
      )
    }
  }

  /// Our own objects of a kind, in all namespaces.
  private func list(_ plural: String, _ client: APIClient) async throws -> [JSONValue] {
    let response = try await client.raw(
      APIRequest(path: "/apis/swarmscale.dev/v1alpha1/\(plural)", headers: [.init("Accept", "application/json")]))
    return try JSONValue(parsing: response.body)["items"]?.arrayValue ?? []
  }
}
