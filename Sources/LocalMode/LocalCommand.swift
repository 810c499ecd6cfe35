package import ArgumentParser
import CoordinationEngine
import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import KubernetesRuntime
import KubernetesYAML
import LocalCluster
import LocalEngine
import Logging
import ProcessNode
import ServiceLifecycle
import TaskCommands
import TaskQueue
import TaskQueueServer
import UnixSignals
import WorkloadTrace

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `swarmscale local`: a whole fleet on this machine.
package struct LocalCommand: AsyncParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "local",
    abstract: "Run fleets on this machine: API server, node, controller and a stand-in for the Claude API.",
    discussion: """
      Starts an embedded Kubernetes API server, a node that runs pods as processes of this machine, the controller with \
      its coordinator, and mock-claude; then applies your files. No cluster, no containers, no root. Ctrl-C ends all of \
      it; nothing stays behind. kubectl works with the kubeconfig that it names.

      Containers get SWARMSCALE_COORDINATOR and ANTHROPIC_UPSTREAM, so that a swarmscale-sidecar among them joins the \
      coordinator and reaches the API. A container names a program by `command`; its image is only a name.

      Try it:
        swarmscale local -f examples/local/fleet.yaml
        kubectl --kubeconfig PATH get swa,deploy,pods -A    (PATH is printed)

      docs/local-mode.md says more.
      """)

  @Option(
    name: [.customShort("f"), .customLong("filename")],
    help: ArgumentHelp("A file with objects, YAML or JSON; may be given several times.", valueName: "file"))
  package var files: [String] = []

  @Option(help: ArgumentHelp("HOST:PORT of the page, on loopback.", valueName: "host:port"))
  package var listen = "127.0.0.1:8080"

  @Option(
    help: ArgumentHelp("Where the API is. Default: mock-claude is started, which costs nothing.", valueName: "url"))
  package var upstream: String?

  @Option(help: ArgumentHelp("Configuration of mock-claude: limits, pace, faults.", valueName: "file"))
  package var mockConfig: String?

  @Option(help: ArgumentHelp("Where the kubeconfig is written. Default: into a folder of its own.", valueName: "file"))
  package var kubeconfig: String?

  @Option(help: ArgumentHelp("The most pods that this machine is asked to run.", valueName: "number"))
  package var maxPods = 110

  @Option(
    help: ArgumentHelp(
      "CPU that pods may request together; more than the machine has is fine for workers that mostly wait.",
      valueName: "quantity"))
  package var cpu = "100"

  @Option(
    help: ArgumentHelp(
      "A trace to replay against the fleet's queue: CSV with \(WorkloadTrace.header).", valueName: "file"))
  package var load: String?

  @Option(
    help: ArgumentHelp("The queue that the load goes to. Default: the only fleet's name.", valueName: "name"))
  package var queue: String?

  @Option(help: ArgumentHelp("Seconds of the trace that pass in a second, such as 60 or 0.5.", valueName: "number"))
  package var speed = "1"

  @Option(help: ArgumentHelp("Percent of the trace's requests that are made, such as 10.", valueName: "percent"))
  package var scaleLoad = "100"

  @OptionGroup var engineOptions: EngineOptions

  /// Makes the command.
  package init() {}

  package func validate() throws {
    guard listen.hasPrefix("127.") || listen.hasPrefix("localhost:"), listen.contains(":") else {
      throw ValidationError("--listen \(listen): an address of this machine alone, such as 127.0.0.1:8080")
    }
    guard maxPods > 0 else { throw ValidationError("--max-pods \(maxPods): 1 or more") }
    do {
      _ = try Quantity(cpu)
    } catch {
      throw ValidationError("--cpu \(error)")
    }
    for (name, text) in [("--speed", speed), ("--scale-load", scaleLoad)] where WorkloadFactor(parsing: text) == nil {
      throw ValidationError("\(name) \(text): a number above 0 and up to 1000000, such as 60 or 0.5")
    }
    guard load != nil || (queue == nil && speed == "1" && scaleLoad == "100") else {
      throw ValidationError("--queue, --speed and --scale-load are about --load FILE, which is missing")
    }
  }

  package func run() async throws {
    let objects = try files.flatMap(Self.read)
    let engine = try await engineOptions.open()
    let load = try replay(of: objects, engine.tasks)
    let folder = try Self.makeFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let time = SystemTimeSource()
    let logger = Logger(label: "swarmscale-local") { _ in StatusLogHandler() }
    let pods = try systemPods(kubeconfig: kubeconfig ?? "\(folder)/kubeconfig")
    let sources = NodeSources(time: time)
    let (endpoints, continuation) = AsyncStream.makeStream(of: LocalClusterEndpoint.self)
    var configuration = LocalClusterConfiguration()
    configuration.kubeconfigPath = pods.kubeconfig
    let cluster = LocalCluster(
      configuration: configuration, logs: sources, usage: sources, external: QueueMetrics(engine: engine.tasks),
      time: time,
      logger: logger
    ) { continuation.yield($0) }
    let (taskPorts, portContinuation) = AsyncStream.makeStream(of: Int.self)
    let tasks = TaskQueueServer(engine: engine, logger: logger) { portContinuation.yield($0) }
    let fleet = LocalFleet(
      pods: pods, objects: objects, filesFolder: files.first.map(Self.folder), endpoints: endpoints, sources: sources,
      node: try node(in: folder),
      upstream: upstream, engine: engine.tasks, engineSummary: engineOptions.summary, taskPorts: taskPorts, load: load,
      begin: time.wallNow.secondsSinceEpoch,
      time: time, logger: logger)
    // Services end in the order opposite to this: the node ends its pods while the API server is still there, and
    // workers hand back or complete their tasks meanwhile.
    try await ServiceGroup(
      configuration: .init(
        services: [
          .init(service: EngineService(engine), failureTerminationBehavior: .gracefullyShutdownGroup),
          .init(service: tasks, failureTerminationBehavior: .gracefullyShutdownGroup),
          .init(service: cluster, failureTerminationBehavior: .gracefullyShutdownGroup),
          .init(
            service: fleet, successTerminationBehavior: .gracefullyShutdownGroup,
            failureTerminationBehavior: .gracefullyShutdownGroup),
        ],
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    ).run()
    say("ended; nothing is left running")
  }

  private func node(in folder: String) throws -> NodeConfiguration {
    let shim = NodeConfiguration.shimBesideProgram()
    guard FileManager.default.isExecutableFile(atPath: shim) else {
      throw LocalModeError("\(shim) is missing; build it: swift build --product swarmscale-shim")
    }
    var node = NodeConfiguration(
      name: "local", stateFolder: "\(folder)/node", shimPath: shim, maximumPods: maxPods, cpu: try Quantity(cpu),
      shutdownGrace: .seconds(20))
    node.environmentAllowList = [
      LocalFleet.coordinatorVariable, LocalFleet.upstreamVariable, LocalFleet.beginVariable,
      LocalFleet.tasksVariable, LocalFleet.filesVariable,
    ]
    return node
  }

  private func systemPods(kubeconfig: String) throws -> SystemPods {
    let shim = NodeConfiguration.shimBesideProgram()
    let programs = shim.split(separator: "/").dropLast().map { "/\($0)" }.joined()
    var mock: (program: String, port: Int, configuration: String?)?
    if upstream == nil {
      let program = "\(programs)/mock-claude"
      guard FileManager.default.isExecutableFile(atPath: program) else {
        throw LocalModeError(
          "\(program) is missing; build it (swift build --product mock-claude), or name an API by --upstream URL")
      }
      mock = (program, try Self.freePort(), mockConfig.map(Self.absolute))
    }
    return SystemPods(
      folder: programs, kubeconfig: Self.absolute(kubeconfig), listen: listen,
      coordinator: "127.0.0.1:\(try Self.freePort())", mock: mock)
  }

  // MARK: Load

  /// The load that the flags ask for; nil without one.
  private func replay(of objects: [JSONValue], _ engine: any TaskEngine) throws -> LoadReplay? {
    guard let load, let speed = WorkloadFactor(parsing: speed), let scale = WorkloadFactor(parsing: scaleLoad) else {
      return nil
    }
    let trace = try WorkloadTrace(parsing: Self.bytes(load), file: load)
    let fleets = objects.filter { $0["kind"] == "SwarmAutoscaler" }
      .compactMap { $0["metadata"]?["name"]?.stringValue }
    guard let queue = queue ?? (fleets.count == 1 ? fleets[0] : nil) else {
      throw LocalModeError(
        "--load needs --queue NAME: the files have \(fleets.isEmpty ? "no fleet" : "the fleets \(fleets.joined(separator: ", "))")"
      )
    }
    let schedule = WorkloadSchedule(trace, scale: scale.percent)
    guard schedule.requests > 0 else {
      throw LocalModeError("\(load): no request is left at --scale-load \(scaleLoad); use more of it")
    }
    return LoadReplay(
      name: String(load.split(separator: "/").last ?? ""), queue: queue, schedule: schedule, speed: speed,
      engine: engine, time: SystemTimeSource())
  }

  // MARK: Files and ports

  private static func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
  }

  /// The folder that a file is in.
  private static func folder(of file: String) -> String {
    "/" + absolute(file).split(separator: "/").dropLast().joined(separator: "/")
  }

  private static func bytes(_ file: String) throws -> [UInt8] {
    do {
      return [UInt8](try Data(contentsOf: URL(filePath: file)))
    } catch {
      throw LocalModeError(
        FileManager.default.fileExists(atPath: file) ? "\(file) can't be read: \(error)" : "\(file) doesn't exist")
    }
  }

  private static func read(_ file: String) throws -> [JSONValue] {
    let bytes = try bytes(file)
    let (documents, problem) = YAMLDocument.read(bytes)
    if let problem { throw LocalModeError("\(file): \(problem)") }
    return documents.map(\.json)
  }

  private static func makeFolder() throws -> String {
    let base = FileManager.default.temporaryDirectory.path
    let folder = "\(base.hasSuffix("/") ? String(base.dropLast()) : base)/swarmscale-local-\(getpid())"
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    } catch {
      throw LocalModeError("\(folder) can't be made: \(error)")
    }
    return folder
  }

  /// A port of the loopback address that is free now.
  private static func freePort() throws -> Int {
    #if canImport(Darwin)
      let kind = SOCK_STREAM
    #else
      let kind = Int32(SOCK_STREAM.rawValue)
    #endif
    let descriptor = socket(AF_INET, kind, 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        bind(descriptor, pointer, length) == 0 ? getsockname(descriptor, pointer, &length) : -1
      }
    }
    guard result == 0 else { throw LocalModeError("no free port on 127.0.0.1 can be had") }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}
