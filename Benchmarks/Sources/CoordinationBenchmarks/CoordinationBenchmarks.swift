import ArgumentParser
import FoundationEssentials

/// What batches, compression, pooled memory and parked agents bring, each beside what it is compared with in the same run.
@main
struct CoordinationBenchmarks: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "CoordinationBenchmarks",
    abstract: "Measure messages, compression and memory; build with -c release.",
    subcommands: [
      Agents.self, All.self, Batching.self, Child.self, Compression.self, Orchestrator.self, Parking.self,
      Payloads.self, Pooling.self, Repeat.self, Table.self,
    ],
    defaultSubcommand: All.self)

  struct Options: ParsableArguments {
    @Option(help: "A folder with Python sources for the prose and code of the payloads; Python's own library is fine.")
    var corpus = ""
    @Option(help: "The seed of the payloads.")
    var seed: UInt64 = 20_261_129
    @Option(help: "How often each time is measured; the median is printed.")
    var rounds = 5

    func payloads() throws -> PayloadSource {
      guard !corpus.isEmpty else {
        throw ValidationError(
          "name a folder with Python sources: --corpus $(python3 -c 'import sysconfig; print(sysconfig.get_paths()[\"stdlib\"])')"
        )
      }
      return try PayloadSource(corpus: corpus, seed: seed)
    }
  }

  struct All: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All of them, as one table (the default).")
    @OptionGroup var options: Options

    func run() async throws {
      var report = Report()
      // First, while the process's heap is as it starts.
      PoolBenchmark(rounds: options.rounds).run(&report)
      try await BatchingBenchmark(rounds: options.rounds).run(&report)
      var compression = try CompressionBenchmark(source: options.payloads(), rounds: options.rounds)
      try compression.run(&report)
      var parking = try ParkingBenchmark(source: options.payloads(), rounds: options.rounds)
      try parking.run(&report)
      try await OrchestratorBenchmark(rounds: options.rounds).routing(&report)
      try await OrchestratorBenchmark(rounds: options.rounds).healing(&report)
      report.print()
    }
  }

  struct Agents: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Agents: how soon they run, what they leave, their memory, admission by load; two minutes.")
    @OptionGroup var options: Options
    @Flag(help: "Few of everything.")
    var quick = false

    func run() async throws {
      var report = Report()
      var agents = try AgentBenchmark(source: options.payloads(), rounds: options.rounds, isQuick: quick)
      try await agents.run(&report)
      report.print()
    }
  }

  /// One agent as a process, which the benchmark of agents starts.
  struct Child: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: ChildProcess.command, shouldDisplay: false)

    func run() { ChildProcess.runAsChild() }
  }

  struct Batching: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Writes per message and per task, delay, lanes.")
    @OptionGroup var options: Options

    func run() async throws {
      var report = Report()
      try await BatchingBenchmark(rounds: options.rounds).run(&report)
      report.print()
    }
  }

  struct Compression: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bytes and time per payload class, checkpoints.")
    @OptionGroup var options: Options

    func run() async throws {
      var report = Report()
      var compression = try CompressionBenchmark(source: options.payloads(), rounds: options.rounds)
      try compression.run(&report)
      report.print()
    }
  }

  struct Orchestrator: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Tasks routed in a second; pods and leaders killed.")
    @OptionGroup var options: Options

    func run() async throws {
      var report = Report()
      try await OrchestratorBenchmark(rounds: options.rounds).routing(&report)
      try await OrchestratorBenchmark(rounds: options.rounds).healing(&report)
      report.print()
    }
  }

  struct Pooling: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Pooled memory and contexts beside fresh ones.")
    @OptionGroup var options: Options

    func run() async throws {
      var report = Report()
      PoolBenchmark(rounds: options.rounds).run(&report)
      report.print()
    }
  }

  struct Parking: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Memory of parked agents, and how fast they are back.")
    @OptionGroup var options: Options

    func run() async throws {
      var report = Report()
      var parking = try ParkingBenchmark(source: options.payloads(), rounds: options.rounds)
      try parking.run(&report)
      report.print()
    }
  }

  struct Payloads: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write the payloads that are measured, a file each, to look at them or to try other compressors.")
    @OptionGroup var options: Options
    @Argument(help: "The folder.")
    var folder: String

    func run() async throws {
      var source = try options.payloads()
      for number in 0..<200 {
        var classes = [
          ("heartbeat", source.heartbeat()), ("task", source.task()), ("tool", source.toolCall()),
          ("result", source.result()), ("foreign", source.foreign()),
        ]
        if number < 40 {
          classes.append(("state15", source.states(1, reaching: 13_000)[0]))
          classes.append(("state60", source.states(1, reaching: 58_000)[0]))
        }
        for (name, bytes) in classes {
          let target = "\(folder)/\(name)"
          try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
          guard FileManager.default.createFile(atPath: "\(target)/\(number)", contents: Data(bytes)) else {
            throw ValidationError("cannot write to \(target)")
          }
        }
      }
    }
  }

  struct Repeat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Repeat one thing, for counting its allocations by valgrind: the difference of two runs.")
    @Argument(help: "data, array, malloc, lease, frame, fresh-context or pooled-context.")
    var what: String
    @Option(help: "How often.")
    var iterations = 1_000
    @Option(help: "Bytes of a buffer or payload.")
    var bytes = 4_096

    func run() async throws {
      guard PoolBenchmark.step(what, bytes: bytes, count: iterations) else { throw ValidationError("unknown: \(what)") }
    }
  }
}
