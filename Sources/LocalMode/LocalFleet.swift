import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import KubernetesRuntime
import LocalCluster
import Logging
import ProcessNode
import ServiceLifecycle
import TaskQueue
import TaskQueueServer

/// The node, the system's pods and the user's objects, once the API server is there; says what happens.
struct LocalFleet: Service {
  static let coordinatorVariable = "SWARMSCALE_COORDINATOR"
  static let upstreamVariable = "ANTHROPIC_UPSTREAM"
  static let beginVariable = "SWARMSCALE_LOCAL_BEGIN"
  static let tasksVariable = "SWARMSCALE_TASKS"
  static let filesVariable = "SWARMSCALE_LOCAL_FILES"

  var pods: SystemPods
  var objects: [JSONValue]
  /// The folder of the first file, so that manifests can name programs beside themselves; nil without files.
  var filesFolder: String?
  var endpoints: AsyncStream<LocalClusterEndpoint>
  var sources: NodeSources
  var node: NodeConfiguration
  var upstream: String?
  /// Where tasks are kept.
  var engine: any TaskEngine
  /// Where that is, for people.
  var engineSummary: String
  /// The port of the queue's server, once it accepts.
  var taskPorts: AsyncStream<Int>
  /// The load that is replayed once the objects are there.
  var load: LoadReplay?
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
    var taskPort: Int?
    for await first in taskPorts.cancelOnGracefulShutdown() {
      taskPort = first
      break
    }
    guard let endpoint, let taskPort else { return }
    let tasks = "http://127.0.0.1:\(taskPort)"
    let environment = environment(tasks: tasks)
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
      task queue:  \(tasks)/v1/tasks, \(engineSummary)
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
  private func environment(tasks: String) -> [String: String] {
    var environment: [String: String] = [:]
    for name in ["HOME", "LANG", "TMPDIR"] { environment[name] = ProcessVariables.value(of: name) }
    // swarmscale-sidecar and its like are found without a path.
    environment["PATH"] = "\(pods.folder):\(ProcessVariables.value(of: "PATH") ?? "/usr/bin:/bin")"
    environment[Self.coordinatorVariable] = "http://\(pods.coordinator)"
    environment[Self.beginVariable] = "\(begin)"
    environment[Self.tasksVariable] = tasks
    environment[Self.filesVariable] = filesFolder
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
    guard let load else { return try await watch(client) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await load.run() }
      group.addTask { try await watch(client) }
      // The load ends, watching doesn't; whichever fails ends the other.
      defer { group.cancelAll() }
      for try await _ in group {}
    }
  }

  /// Tells what changes: in place on a terminal, otherwise by a line for each change.
  private func watch(_ client: APIClient) async throws {
    var shown: [String: String] = [:]
    var board = StatusBoard()
    var report = LoadReport()
    let output = StatusOutput.standard
    defer { output.finish() }
    while true {
      try await time.sleep(for: .seconds(1))
      for (pod, line) in try await troubles(client) where shown[pod] != line {
        shown[pod] = line
        say("\(time.wallNow.rfc3339)  \(pod): \(line)")
      }
      var notes: [String] = []
      if let load, let queue = try await engine.statistics(of: load.queue)[load.queue] {
        let progress = load.progress
        for line in report.lines(
          load, progress, queue, isTerminal: output.isTerminal, now: time.monotonicNow)
        {
          say("\(time.wallNow.rfc3339)  \(line)")
        }
        notes = [LoadReport.note(load, progress, queue)]
      }
      let fleets = try await list("swarmautoscalers", client).compactMap(FleetStatus.init)
      guard output.isTerminal else {
        for fleet in fleets where shown[fleet.name] != fleet.line {
          shown[fleet.name] = fleet.line
          say("\(time.wallNow.rfc3339)  \(fleet.name): \(fleet.line)")
        }
        continue
      }
      board.update(
        fleets: fleets, budgets: try await list("apibudgets", client).compactMap(BudgetStatus.init), notes: notes)
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
