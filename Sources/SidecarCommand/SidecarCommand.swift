package import ArgumentParser
import CoordinationAPI
import Logging
import NIOCore
import NIOPosix
import Observability
import RateBudget
import SidecarServer
package import SwarmCoordination
import UnixSignals

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// `swarmscale-sidecar`: the Claude API on loopback, within a budget, until SIGTERM or SIGINT.
package struct SidecarCommand: AsyncParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "swarmscale-sidecar",
    abstract: "Serve the Claude API on loopback within a rate budget.",
    discussion: """
      A worker (Claude Code, any SDK) needs nothing but ANTHROPIC_BASE_URL. Requests and answers pass byte for byte; \
      requests that make tokens wait until the budget has room for them, so that next to none is answered 429. \
      Retries of 429, 529 and broken connections happen here. With --coordinator all workers of the fleet share one budget; \
      with --budget this machine has its own; without both each model has one whose limits are learned from response \
      headers. Keys pass through; they are never logged or stored.

      SIGTERM and SIGINT let what is being answered finish and end with exit code 0; 78 means that a setting or the \
      budget file is wrong, 69 that the address can't be had.

      Try it:
        swarmscale-sidecar --budget examples/sidecar-budget.yaml &
        ANTHROPIC_BASE_URL=http://127.0.0.1:8787 claude -p hello
        curl http://127.0.0.1:8787/metrics
        curl http://127.0.0.1:8787/v1/activity
        curl -H 'content-type: application/json' -d '{"queue":"reviews"}' 'http://127.0.0.1:8787/v1/tasks/next?wait=20'
        curl -X POST 'http://127.0.0.1:8787/v1/drain?timeout=60'

      docs/sidecar.md says more.
      """,
    version: swarmscaleVersion)

  @Option(help: ArgumentHelp("APIBudget objects, as they are applied to a cluster.", valueName: "file"))
  package var budget: String?

  @Option(
    help: ArgumentHelp(
      "The fleet's coordinator: https://host:port, or http://host:port without TLS (default: $SWARMSCALE_COORDINATOR).",
      valueName: "url"))
  package var coordinator: String?

  @Option(help: ArgumentHelp("The pod's namespace (default: $SWARMSCALE_NAMESPACE).", valueName: "name"))
  package var namespace: String?

  @Option(help: ArgumentHelp("The pod's name (default: $SWARMSCALE_POD).", valueName: "name"))
  package var pod: String?

  @Option(help: ArgumentHelp("The pod's uid (default: $SWARMSCALE_POD_UID).", valueName: "uid"))
  package var podUID: String?

  @Option(
    help: ArgumentHelp("The autoscaler that the pod belongs to (default: $SWARMSCALE_AUTOSCALER).", valueName: "name"))
  package var autoscaler: String?

  @Option(
    help: ArgumentHelp(
      "Kind of worker; kinds that write differently much are learned apart (default: $SWARMSCALE_WORKER_KIND).",
      valueName: "word"))
  package var workerKind: String?

  @Option(
    help: ArgumentHelp(
      "File with the token for the coordinator (default: $SWARMSCALE_TOKEN_FILE, else where the webhook mounts it).",
      valueName: "file"))
  package var tokenFile: String?

  @Option(
    help: ArgumentHelp(
      """
      Authorities that sign the coordinator's certificate (default: $SWARMSCALE_CA_FILE, else where the webhook mounts \
      them, else the system's).
      """, valueName: "file"))
  package var caFile: String?

  @Option(
    help: ArgumentHelp(
      "Name in the coordinator's certificate (default: $SWARMSCALE_COORDINATOR_SERVER_NAME, else the host).",
      valueName: "name"))
  package var coordinatorServerName: String?

  @Option(
    help: ArgumentHelp("How many agents the worker runs at once (default: $SWARMSCALE_SLOTS).", valueName: "number"))
  package var slots: Int?

  @Option(
    help: ArgumentHelp(
      "Where the API is (default: $ANTHROPIC_UPSTREAM, else https://api.anthropic.com).", valueName: "url"))
  package var upstream: String?

  @Option(
    help: ArgumentHelp(
      """
      The queue of tasks behind /v1/tasks: http://host:port of its server, or nats://host:port (default: $SWARMSCALE_TASKS; \
      without it there is none).
      """, valueName: "url"))
  package var tasks: String?

  @Option(help: ArgumentHelp("Address to listen on; port 0 takes a free one.", valueName: "host:port"))
  package var listen = "127.0.0.1:8787"

  @Option(
    help: ArgumentHelp(
      "Address for the kubelet, at which it finds /healthz, /metrics and /v1/drain, and never the API. Default: none.",
      valueName: "host:port"))
  package var kubeletListen: String?

  @Option(help: ArgumentHelp("With --budget: the fleet whose share is used.", valueName: "name"))
  package var fleet = "default"

  @Option(help: ArgumentHelp("How long a request is held at most, in seconds.", valueName: "seconds"))
  package var hold = 300

  @Option(help: ArgumentHelp("How long SIGTERM lets answers finish, in seconds.", valueName: "seconds"))
  package var drainTimeout = 300

  @Option(help: ArgumentHelp("trace, debug, info, warning or error.", valueName: "level"))
  package var logLevel = "info"

  @Option(help: ArgumentHelp("File into which the URL is written when requests are accepted.", valueName: "file"))
  package var readyFile: String?

  /// Makes the command.
  package init() {}

  package func validate() throws {
    guard (1...330).contains(hold) else {
      throw ValidationError("--hold \(hold): 1 to 330 seconds; clients give up after 340")
    }
    guard drainTimeout >= 0 else { throw ValidationError("--drain-timeout \(drainTimeout): 0 or more seconds") }
    guard Logger.Level(rawValue: logLevel) != nil else {
      throw ValidationError("--log-level \(logLevel): known are trace, debug, info, warning and error")
    }
    _ = try address()
    _ = try kubeletAddress()
  }

  package func run() async throws {
    CoreDumps.disable()
    // A sidecar has a core at most to live on: with one loop, worker and upstream of a request are served without a hop.
    NIOSingletons.groupLoopCountSuggestion = 1
    let clock = SystemClock()
    let logger = makeLogger(clock)
    let environment = try environment(logger)
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    let pool = AgentPool(slots: environment.slots ?? 0, clock: clock)
    let membership = try membership(environment, pool, clock, logger)
    let shared = try engine(environment, pool, clock, logger)
    let metrics = SidecarMetrics(
      budgets: { membership.reports() },
      coordinator: {
        membership.link.map { SidecarMetrics.Coordinator(isConnected: $0.isConnected, counts: $0.counts) }
      },
      fleet: { shared?.fleetMetrics ?? "" })
    let client = UpstreamClient(environment.upstream)
    let gateway = ClaudeGateway(
      configuration: .init(fleet: membership.fleet, client: membership.client, hold: .seconds(hold)),
      authority: membership.authority, client: client, clock: clock,
      observe: { event in
        metrics.note(event)
        SidecarLog.write(event, to: logger)
      }, onActivity: { pool.noteActivity() })
    pool.follow { gateway.activity }
    let relay = shared.map { shared in
      TaskRelay(
        link: shared.tasks, pool: pool, worker: environment.pod.isEmpty ? ProcessFacts.hostName() : environment.pod)
    }
    do {
      let (host, port) = try address()
      var configuration = SidecarServer.Configuration(host: host, port: port)
      configuration.kubelet = try kubeletAddress()
      configuration.tasks = relay
      configuration.engine = shared.map { EngineAPI($0.engine) }
      let server = try await SidecarServer(
        configuration: configuration, gateway: gateway, pool: pool, clock: clock, metrics: metrics,
        logger: logger)
      try announce(server, environment, logger)
      ProcessMemory.releaseStartPages()
      try await membership.run {
        guard let shared else { return try await serve(server, signals, clock, logger) }
        try await shared.run { try await serve(server, signals, clock, logger) }
      }
    } catch {
      await client.shutDown()
      logger.error("the sidecar ends", metadata: [LogKey.error: "\(error)", LogKey.address: "\(listen)"])
      throw ExitCode(69)
    }
    await client.shutDown()
    logger.info("ended")
  }

  private func serve(
    _ server: SidecarServer, _ signals: UnixSignalsSequence, _ clock: any CoordinationClock, _ logger: Logger
  ) async throws {
    let timeout = Duration.seconds(drainTimeout)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      group.addTask {
        for await _ in signals { break }
        if Task.isCancelled { return }
        logger.info("draining", metadata: ["timeout.seconds": "\(timeout.components.seconds)"])
        server.stop()
        try await clock.sleep(until: clock.now + timeout)
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func announce(_ server: SidecarServer, _ environment: SwarmEnvironment, _ logger: Logger) throws {
    logger.info(
      "serving",
      metadata: [
        LogKey.address: "\(server.url)", "upstream": "\(environment.upstream)",
        "budget": "\(environment.coordinator?.description ?? budget ?? "learned")",
      ])
    if let readyFile {
      try Data((server.url + "\n").utf8).write(to: URL(filePath: readyFile), options: .atomic)
    }
  }

  // MARK: Settings

  /// What the environment says, and the flags that stand before it.
  private func environment(_ logger: Logger) throws -> SwarmEnvironment {
    do throws(SwarmConfigurationError) {
      return try environment(of: ProcessFacts.variable)
    } catch {
      logger.error("a setting is wrong", metadata: [LogKey.error: "\(error)"])
      throw ExitCode(78)
    }
  }

  /// The same of any environment.
  package func environment(
    of variable: (String) -> String?, fileExists: (String) -> Bool = ProcessFacts.fileExists
  ) throws(SwarmConfigurationError) -> SwarmEnvironment {
    typealias Variable = SwarmEnvironment.Variable
    let flags: [String: String?] = [
      Variable.coordinator: coordinator, Variable.namespace: namespace, Variable.pod: pod, Variable.uid: podUID,
      Variable.autoscaler: autoscaler, Variable.kind: workerKind, Variable.tokenFile: tokenFile,
      Variable.authorityFile: caFile, Variable.serverName: coordinatorServerName,
      Variable.slots: slots.map(String.init),
      Variable.upstream: upstream, Variable.tasks: tasks,
    ]
    let environment = try SwarmEnvironment(
      reading: { name in (flags[name] ?? nil) ?? variable(name) }, fileExists: fileExists)
    if let budget, let address = environment.coordinator {
      let drop = coordinator == nil ? "the variable \(Variable.coordinator)" : "--coordinator"
      throw SwarmConfigurationError(
        "--budget", budget,
        "the coordinator \(address) has the fleet's budgets, applied to the cluster as APIBudget objects; drop --budget, or "
          + "drop \(drop) to govern this machine alone")
    }
    return environment
  }

  private func engine(
    _ environment: SwarmEnvironment, _ pool: AgentPool, _ clock: any CoordinationClock, _ logger: Logger
  ) throws -> SwarmEngine? {
    do throws(SwarmConfigurationError) {
      guard let address = environment.tasks else { return nil }
      let pod = environment.pod.isEmpty ? ProcessFacts.hostName() : environment.pod
      return try SwarmEngine(
        address, reading: ProcessFacts.variable, file: ProcessFacts.token, pod: .init(pod, pool), clock: clock,
        logger: logger)
    } catch {
      logger.error("a setting is wrong", metadata: [LogKey.error: "\(error)"])
      throw ExitCode(78)
    }
  }

  private func membership(
    _ environment: SwarmEnvironment, _ pool: AgentPool, _ clock: any CoordinationClock, _ logger: Logger
  ) throws -> SwarmMembership {
    guard var link = environment.link(readingToken: ProcessFacts.token) else {
      return SwarmMembership(alone: try plan(logger), fleet: fleet, pool: pool, clock: clock, logger: logger)
    }
    link.defaults = BudgetConfiguration(prices: .published)
    return SwarmMembership(
      link: link, identity: environment.identity(incarnation: ProcessFacts.incarnation()), pool: pool, clock: clock,
      logger: logger)
  }

  private func makeLogger(_ clock: SystemClock) -> Logger {
    let level = Logger.Level(rawValue: logLevel) ?? .info
    return Logger(label: "swarmscale-sidecar") { label in
      StructuredLogHandler(label: label, format: .logfmt, level: level) {
        Date(timeIntervalSince1970: Double(clock.wall.milliseconds) / 1_000).formatted(.iso8601)
      }
    }
  }

  private func plan(_ logger: Logger) throws -> BudgetPlan {
    guard let budget else { return BudgetPlan(fallback: BudgetConfiguration(prices: .published)) }
    do {
      let text = String(decoding: try Data(contentsOf: URL(filePath: budget)), as: UTF8.self)
      return try BudgetFile(yaml: text).plan
    } catch let error as BudgetFile.Invalid {
      logger.error("the budget can't be used", metadata: [LogKey.file: "\(budget)", LogKey.error: "\(error)"])
    } catch {
      logger.error("the budget can't be read", metadata: [LogKey.file: "\(budget)", LogKey.error: "\(error)"])
    }
    throw ExitCode(78)
  }

  private func address() throws -> (host: String, port: Int) {
    guard let address = Self.address(listen) else {
      throw ValidationError("--listen \(listen): host:port is needed, such as 127.0.0.1:8787")
    }
    return address
  }

  private func kubeletAddress() throws -> (host: String, port: Int)? {
    guard let kubeletListen else { return nil }
    guard let address = Self.address(kubeletListen) else {
      throw ValidationError("--kubelet-listen \(kubeletListen): host:port is needed, such as $(SWARMSCALE_POD_IP):8788")
    }
    return address
  }

  private static func address(_ text: String) -> (host: String, port: Int)? {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (0...65_535).contains(port), colon > text.startIndex
    else { return nil }
    return (String(text[..<colon]), port)
  }
}
