import HPAReference
package import KubernetesCore
import ScalingDecision

/// Tells for each recorded decision what the HPA of Kubernetes 1.36 would have decided from the same inputs.
///
/// The HPA is `HPAReference`, bit for bit. It sees the recorded fleet, samples, rules and changes of size; its
/// recommendations are its own, remembered from the beginning of the log. What it can't express is translated:
/// a band of utilization counts as a target of 77 %, another band as its middle, Prometheus and Backlog as External;
/// APIRate and Schedule are left out.
package struct HPAComparison {
  /// The utilization that stands for a band: the middle of the default band, as an HPA's author would choose it.
  static let bandPercent: Int32 = 77

  /// One decision that differs.
  package struct Row: Hashable, Sendable, Encodable {
    /// The line of the log.
    package var line: Int
    /// When it was decided.
    package var time: String
    /// `namespace/name`.
    package var autoscaler: String
    /// The count before.
    package var current: Int
    /// The count that this project wanted.
    package var swarmscale: Int
    /// The step that had the last word on it.
    package var step: String
    /// The count that the HPA would have wanted.
    package var hpa: Int
    /// What the HPA says about it.
    package var reason: String
  }

  /// All differences and their count.
  package struct Report: Hashable, Sendable, Encodable {
    /// The differing decisions.
    package var rows: [Row] = []
    /// How many decisions were compared.
    package var compared = 0
    /// How many have no metric that an HPA could have.
    package var incomparable = 0
    /// How many lines can't be read.
    package var unreadable = 0
    /// What was translated, for people.
    package var translations: [String] = []

    /// In how many the HPA wants more.
    package var more: Int { rows.count { $0.hpa > $0.swarmscale } }
    /// In how many the HPA wants fewer.
    package var fewer: Int { rows.count { $0.hpa < $0.swarmscale } }
  }

  /// Makes a comparison.
  package init() {}

  /// Compares `lines` and prints the result; false when lines couldn't be read.
  package func run(
    _ lines: inout LineReader, format: ValidateCommand.OutputFormat, to output: CommandOutput
  ) throws(KubernetesError) -> Bool {
    let report = try compare(&lines, to: output)
    switch format {
    case .json: output.write(String(decoding: try KubernetesJSON.encode(report), as: UTF8.self))
    case .text: print(report, to: output)
    }
    return report.unreadable == 0
  }

  /// Compares every decision of `lines`.
  package func compare(
    _ lines: inout LineReader, to output: CommandOutput
  ) throws(KubernetesError) -> Report {
    var report = Report()
    var controllers: [String: HPAController] = [:]
    var translations: Set<String> = []
    while let line = try lines.next() {
      if line.bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0D }) { continue }
      do throws(KubernetesError) {
        let record = try DecisionRecord(line: line.bytes)
        guard let inputs = HPAInputs(record) else {
          report.incomparable += 1
          continue
        }
        translations.formUnion(inputs.translations)
        report.compared += 1
        let row = decide(record, inputs, line: line.number, &controllers)
        if row.hpa != row.swarmscale { report.rows.append(row) }
      } catch {
        report.unreadable += 1
        output.remark("line \(line.number): \(error.message)")
      }
    }
    report.translations = translations.sorted()
    return report
  }

  private func decide(
    _ record: DecisionRecord, _ inputs: HPAInputs, line: Int, _ controllers: inout [String: HPAController]
  ) -> Row {
    var controller =
      controllers[record.autoscaler] ?? HPAController(namespace: record.namespace, spec: inputs.spec)
    controller.spec = inputs.spec
    controller.options = inputs.options
    controller.history.scaleUpEvents = inputs.scaleUpEvents
    controller.history.scaleDownEvents = inputs.scaleDownEvents
    let result = controller.reconcile(inputs.step, now: record.input.now)
    controllers[record.autoscaler] = controller
    let desired = result.scaledTo.map { Int($0) } ?? record.input.specReplicas
    return Row(
      line: line, time: "\(record.input.now)", autoscaler: record.autoscaler, current: record.plan.currentReplicas,
      swarmscale: record.plan.desiredReplicas, step: record.plan.bindingStep.rawValue, hpa: desired,
      reason: Self.reason(result))
  }

  private static func reason(_ result: HPAStepResult) -> String {
    if let error = result.error { return error }
    if let limited = result.status.conditions.first(where: { $0.type == .scalingLimited && $0.status == .true }) {
      return limited.reason
    }
    return result.events.first { $0.reason == "SuccessfulRescale" }?.message ?? "within tolerance, or held"
  }

  private func print(_ report: Report, to output: CommandOutput) {
    if !report.rows.isEmpty {
      let header = ["LINE", "TIME", "AUTOSCALER", "NOW", "SWARMSCALE", "STEP", "HPA", "WHAT THE HPA SAYS"]
      let rows = report.rows.map {
        ["\($0.line)", $0.time, $0.autoscaler, "\($0.current)", "\($0.swarmscale)", $0.step, "\($0.hpa)", $0.reason]
      }
      for line in textTable([header] + rows) { output.write(line) }
      output.write("")
    }
    for translation in report.translations { output.write("note: \(translation)") }
    let equal = report.compared - report.rows.count
    var summary =
      "\(counted(report.compared, "decision")) compared: \(equal) equal, \(report.rows.count) different "
      + "(the HPA wants more in \(report.more), fewer in \(report.fewer))"
    if report.incomparable > 0 { summary += "; \(report.incomparable) without a metric that an HPA could have" }
    if report.unreadable > 0 { summary += "; \(counted(report.unreadable, "line")) can't be read" }
    output.write(summary)
  }
}

/// Rows as lines with aligned columns; the last column is as long as it is.
func textTable(_ rows: [[String]]) -> [String] {
  var widths: [Int] = []
  for row in rows {
    for (column, cell) in row.enumerated() {
      if column == widths.count { widths.append(0) }
      widths[column] = max(widths[column], cell.count)
    }
  }
  return rows.map { row in
    row.enumerated().map { column, cell in
      column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
    }.joined(separator: "  ")
  }
}
