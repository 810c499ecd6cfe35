import ArgumentParser

/// The benchmarks that need no cluster; `Benchmarks/run` starts them, Benchmarks/README.md explains them.
@main
struct SwarmscaleBenchmarks: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "SwarmscaleBenchmarks",
    abstract: "Measure decoding and deciding; build with -c release.",
    subcommands: [DecodeCommand.self, DecideCommand.self, RepeatCommand.self])
}

/// What can stop a benchmark.
struct BenchmarkError: Error, CustomStringConvertible {
  /// What went wrong, and what to do about it.
  let description: String

  /// Makes an error from its text.
  init(_ description: String) { self.description = description }
}
