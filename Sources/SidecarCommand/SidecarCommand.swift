package import ArgumentParser
import AsyncHTTPClient
import Logging
import NIOCore
import NIOPosix
import Observability
import RateBudget
import SidecarServer
import SwarmCoordination
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
      Retries of 429, 529 and broken connections happen here. Without --budget each model has a budget of its own, \
      whose limits are learned from response headers. Keys pass through; they are never logged or stored.

      SIGTERM and SIGINT let what is being answered finish and end with exit code 0; 78 means that the budget file is \
      wrong, 69 that the address can't be had.

      Try it:
        swarmscale-sidecar --budget examples/sidecar-budget.yaml &
        ANTHROPIC_BASE_URL=http://127.0.0.1:8787 claude -p hello
        curl http://127.0.0.1:8787/metrics
        curl http://127.0.0.1:8787/v1/activity
        curl -X POST 'http://127.0.0.1:8787/v1/drain?timeout=60'

      docs/sidecar.md says more.
      """)

  @Option(help: ArgumentHelp("APIBudget objects, as they are applied to a cluster.", valueName: "file"))
  package var budget: String?

  @Option(help: ArgumentHelp("Where the API is.", valueName: "url"))
  package var upstream = "https://api.anthropic.com"

  @Option(help: ArgumentHelp("Address to listen on; port 0 takes a free one.", valueName: "host:port"))
  package var listen = "127.0.0.1:8787"

  @Option(help: ArgumentHelp("The fleet whose share of the budget is used.", valueName: "name"))
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
    guard upstream.hasPrefix("http://") || upstream.hasPrefix("https://") else {
      throw ValidationError("--upstream \(upstream): a URL such as https://api.anthropic.com is needed")
    }
    _ = try address()
  }

  package func run() async throws {
    let clock = SystemClock()
    let logger = makeLogger(clock)
    let plan = try plan(logger)
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    let authority = LocalAuthority(plan: plan, clock: clock)
    let metrics = SidecarMetrics(budgets: { authority.reports() })
    let client = HTTPClient(
      eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: ClaudeGateway.httpConfiguration)
    let gateway = ClaudeGateway(
      configuration: .init(
        upstream: upstream, fleet: fleet, client: "sidecar", plan: plan, hold: .seconds(hold)),
      authority: authority, client: client, clock: clock,
      observe: { event in
        metrics.note(event)
        SidecarLog.write(event, to: logger)
      })
    do {
      let (host, port) = try address()
      let server = try await SidecarServer(
        configuration: .init(host: host, port: port), gateway: gateway, clock: clock, metrics: metrics, logger: logger)
      try announce(server, logger)
      try await serve(server, authority, signals, clock, logger)
    } catch {
      try? await client.shutdown()
      logger.error("the sidecar ends", metadata: [LogKey.error: "\(error)", LogKey.address: "\(listen)"])
      throw ExitCode(69)
    }
    try await client.shutdown()
    logger.info("ended")
  }

  private func serve(
    _ server: SidecarServer, _ authority: LocalAuthority, _ signals: UnixSignalsSequence,
    _ clock: any CoordinationClock, _ logger: Logger
  ) async throws {
    let timeout = Duration.seconds(drainTimeout)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await authority.run() }
      try await withThrowingTaskGroup(of: Bool.self) { inner in
        inner.addTask {
          try await server.run()
          return true
        }
        inner.addTask {
          for await _ in signals { break }
          if Task.isCancelled { return true }
          logger.info("draining", metadata: ["timeout.seconds": "\(timeout.components.seconds)"])
          server.stop()
          try await clock.sleep(until: clock.now + timeout)
          return true
        }
        _ = try await inner.next()
        inner.cancelAll()
      }
      group.cancelAll()
    }
  }

  private func announce(_ server: SidecarServer, _ logger: Logger) throws {
    logger.info(
      "serving",
      metadata: [LogKey.address: "\(server.url)", "upstream": "\(upstream)", "budget": "\(budget ?? "learned")"])
    if let readyFile {
      try Data((server.url + "\n").utf8).write(to: URL(filePath: readyFile), options: .atomic)
    }
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
    guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]),
      (0...65_535).contains(port), colon > listen.startIndex
    else { throw ValidationError("--listen \(listen): host:port is needed, such as 127.0.0.1:8787") }
    return (String(listen[..<colon]), port)
  }
}
