import ArgumentParser
import Foundation

extension CoordinationBenchmarks {
  /// The 28 promises as one table.
  struct Table: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All 28 promises: baseline, seed's figure, target, measured, in one table.",
      discussion: """
        Verdicts: "met", the target is reached; "beaten", the seed's figure is, the target isn't; "MISSED", neither is; "not measured here", \
        this run has no source for it. Rows that need a server take the one of SWARMSCALE_NATS_SERVER. Exit status 1 when a promise wasn't \
        measured or a seed's figure isn't reached; with --quick only figures count that are the same on any machine.
        """)

    @OptionGroup var options: Options
    @Flag(help: "For CI: small numbers, whether each row appears, and the figures that no busy machine changes.")
    var quick = false
    @Option(help: "Only these promises, such as 1,2,20.")
    var only = ""
    @Option(help: "Also write the rows as JSON to this file.")
    var json: String?

    /// Promises whose figures are bytes or virtual time.
    private static let exact: Set = [10, 18, 21]

    func run() async throws {
      let context = TableContext(isQuick: quick, rounds: quick ? 1 : options.rounds, seed: options.seed)
      let wanted = Set(only.split(separator: ",").compactMap { Int($0.trimmingPrefix(" ")) })
      let report = await PromiseTable.measure(context, PromiseTable.sources(options), only: wanted)
      report.print()
      if let json {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(report.rows).write(to: URL(fileURLWithPath: json))
      }
      let failed = report.rows.contains { row in
        switch row.verdict {
        case .absent: true
        case .missed: !row.seed.isEmpty && (!quick || Self.exact.contains(row.promise))
        default: false
        }
      }
      if failed { throw ExitCode.failure }
    }
  }
}
