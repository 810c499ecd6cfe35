package import KubernetesCore
import ScalingDecision

/// Decides again what a decision log recorded, and compares bit for bit.
package struct Replay {
  /// How a replay ended, as exit code.
  package enum Ending: Int32, Sendable {
    /// Every decision is the same again.
    case equal = 0
    /// A decision came out otherwise.
    case different = 1
    /// No decision differs, but lines couldn't be read.
    case unreadable = 65
  }

  /// Replay only this autoscaler's decisions, as `namespace/name`; nil: all.
  package var autoscaler: String?
  /// Whether to print each decision in words.
  package var explains: Bool
  /// How many bytes are read between two remarks on progress.
  package var progressBytes = 64 << 20

  /// Makes a replay.
  package init(autoscaler: String? = nil, explains: Bool = false) {
    self.autoscaler = autoscaler
    self.explains = explains
  }

  /// Replays `lines`; stops at the first difference. `size` is the count of bytes to come, where it is known.
  package func run(
    _ lines: inout LineReader, size: Int? = nil, to output: CommandOutput
  ) throws(KubernetesError) -> Ending {
    var (equal, others, broken) = (0, 0, 0)
    var reported = 0
    while let line = try lines.next() {
      if lines.bytesRead - reported >= progressBytes {
        reported = lines.bytesRead
        output.remark(progress(lines.bytesRead, size, equal))
      }
      if line.bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0D }) { continue }
      let record: DecisionRecord
      do throws(KubernetesError) {
        guard !line.isCutOff else { throw KubernetesError(.invalid, "the line is too long") }
        record = try DecisionRecord(line: line.bytes)
      } catch {
        broken += 1
        output.remark("line \(line.number): \(error.message)")
        continue
      }
      guard autoscaler == nil || autoscaler == record.autoscaler else {
        others += 1
        continue
      }
      let plan = record.replayed()
      if let difference = try record.firstDifference(from: plan) {
        report(difference, record, plan, line: line.number, to: output)
        return .different
      }
      equal += 1
      if explains { output.write("\(record.input.now) \(record.autoscaler): \(plan.logLine(name: record.name))") }
    }
    output.write(summary(equal, others, broken))
    return broken == 0 ? .equal : .unreadable
  }

  private func report(
    _ difference: PlanDifference, _ record: DecisionRecord, _ plan: Plan, line: Int, to output: CommandOutput
  ) {
    output.write("line \(line): \(record.autoscaler) at \(record.input.now) is decided otherwise now")
    output.write("  field:    \(difference.path)")
    output.write("  recorded: \(difference.recorded ?? "(absent)")")
    output.write("  replayed: \(difference.replayed ?? "(absent)")")
    output.write("  recorded by \(record.program.isEmpty ? "an unnamed version" : "version \(record.program)")")
    if explains {
      output.write("  recorded in words: \(record.plan.logLine(name: record.name))")
      output.write("  replayed in words: \(plan.logLine(name: record.name))")
    }
  }

  private func summary(_ equal: Int, _ others: Int, _ broken: Int) -> String {
    var text = "\(counted(equal, "decision")) replayed, all equal"
    if others > 0 { text += "; \(counted(others, "decision")) of other autoscalers passed over" }
    if broken > 0 { text += "; \(counted(broken, "line")) can't be read" }
    if equal == 0, let autoscaler, broken == 0 { text = "no decision of \(autoscaler) in this log" }
    return text
  }

  private func progress(_ read: Int, _ size: Int?, _ equal: Int) -> String {
    let share =
      size.map { size in size > 0 ? " of \(size >> 20) MiB (\(min(100, read * 100 / size)) %)" : "" } ?? " MiB"
    return "… \(read >> 20)\(share), \(counted(equal, "decision")) equal so far"
  }
}
