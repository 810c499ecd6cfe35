package import ArgumentParser
import KubernetesCore

/// `swarmscale replay`: decides again what a decision log recorded.
package struct ReplayCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Decide again what a decision log recorded, and show the first difference.",
    discussion: """
      A decision depends on nothing but its recorded inputs, so every version that decides alike reproduces a log bit for \
      bit: use it to explain a decision, and to see what an upgrade would change. The log is written by \
      swarmscale-controller --decision-log FILE.

      Exit codes: 0 all equal, 1 a decision differs, 65 lines can't be read, 64 wrong usage, 66 the file can't be read.
      """)

  @Argument(help: ArgumentHelp("The decision log; - for the standard input.", valueName: "file"))
  package var file: String

  @Option(help: ArgumentHelp("Replay only this autoscaler.", valueName: "namespace/name"))
  package var autoscaler: String?

  @Flag(help: "Print each decision in words.")
  package var explain = false

  /// Makes the command.
  package init() {}

  package func validate() throws {
    guard let autoscaler else { return }
    let parts = autoscaler.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
      throw ValidationError("--autoscaler needs NAMESPACE/NAME, such as default/reviewers, not \"\(autoscaler)\".")
    }
  }

  package func run() throws {
    let output = CommandOutput.standard
    let ending: Replay.Ending
    do throws(KubernetesError) {
      let input = try InputFile(file)
      var lines = LineReader(input.chunk)
      ending = try Replay(autoscaler: autoscaler, explains: explain).run(&lines, size: input.size, to: output)
    } catch {
      output.remark(error.message)
      throw ExitCode(66)
    }
    if ending != .equal { throw ExitCode(ending.rawValue) }
  }
}
