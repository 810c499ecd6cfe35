package import ArgumentParser
import KubernetesCore

/// `swarmscale validate`: checks autoscalers and budgets before they reach a cluster.
package struct ValidateCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "validate",
    abstract: "Check autoscalers and budgets like a compiler, or compare recorded decisions with the HPA's.",
    discussion: """
      Reads YAML or JSON with any number of documents; folders with all .yaml, .yml and .json files below; - for the \
      standard input. Each finding names file, line, field, what is allowed and the fix. HPAs of autoscaling/v2 are \
      checked as the SwarmAutoscalers that they would become. No cluster is needed.

      Exit codes: 0 no error, 1 errors (with --strict also warnings), 64 wrong usage.

      Examples:
        swarmscale validate -f autoscaler.yaml
        kubectl get hpa -A -o yaml | swarmscale validate -f -
        swarmscale validate --compare-hpa decisions.jsonl
      """)

  /// The forms of the result.
  package enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    /// One line for each finding.
    case text
    /// One JSON document.
    case json
  }

  @Option(
    name: [.customShort("f"), .customLong("filename")], parsing: .upToNextOption,
    help: ArgumentHelp("Files and folders to check; - for the standard input.", valueName: "file"))
  package var files: [String] = []

  @Option(
    help: ArgumentHelp(
      "Tell for each decision of this decision log what the HPA would have decided; - for the standard input.",
      valueName: "record"))
  package var compareHpa: String?

  @Flag(help: "Count warnings as errors.")
  package var strict = false

  @Option(name: .shortAndLong, help: "The form of the result: text or json.")
  package var output = OutputFormat.text

  /// Makes the command.
  package init() {}

  package func validate() throws {
    guard !files.isEmpty || compareHpa != nil else {
      throw ValidationError("Name the files to check with -f FILE, or a decision log with --compare-hpa RECORD.")
    }
    guard files.filter({ $0 == "-" }).count + (compareHpa == "-" ? 1 : 0) <= 1 else {
      throw ValidationError("The standard input can be read only once.")
    }
  }

  package func run() throws {
    var hasErrors = false
    if !files.isEmpty { hasErrors = try !check() }
    if let compareHpa {
      do throws(KubernetesError) {
        let input = try InputFile(compareHpa)
        var lines = LineReader(input.chunk)
        let isReadable = try HPAComparison().run(&lines, format: output, to: .standard)
        hasErrors = hasErrors || !isReadable
      } catch {
        CommandOutput.standard.remark(error.message)
        throw ExitCode.failure
      }
    }
    if hasErrors { throw ExitCode.failure }
  }

  private func check() throws -> Bool {
    let paths = ManifestFiles.expand(files)
    var validator = ManifestValidator()
    for path in paths {
      do throws(KubernetesError) {
        validator.check(try InputFile(path).all(), file: path == "-" ? "stdin" : path)
      } catch {
        validator.add(unreadable: path, error)
      }
    }
    try ValidationReport(validator, files: paths.count).print(output, to: .standard)
    return validator.count(.error) == 0 && !(strict && validator.count(.warning) > 0)
  }
}

/// The result of a validation and its renderings.
package struct ValidationReport: Encodable {
  /// What was found.
  package var findings: [Finding]
  /// How many files were read.
  package var files: Int
  /// How many objects were checked.
  package var checked: Int
  /// How many documents were passed over.
  package var passedOver: Int
  /// How many findings are errors.
  package var errors: Int
  /// How many findings are warnings.
  package var warnings: Int

  /// Sums a validation up.
  package init(_ validator: ManifestValidator, files: Int) {
    findings = validator.findings
    self.files = files
    checked = validator.checked
    passedOver = validator.passedOver
    errors = validator.count(.error)
    warnings = validator.count(.warning)
  }

  /// The last line of the text form.
  package var summary: String {
    var text = "\(counted(checked, "object")) checked in \(counted(files, "file")): "
    text +=
      errors + warnings == 0 ? "no findings" : "\(counted(errors, "error")), \(counted(warnings, "warning"))"
    if passedOver > 0 { text += "; \(counted(passedOver, "document")) passed over" }
    return text
  }

  /// Prints the result.
  package func print(_ format: ValidateCommand.OutputFormat, to output: CommandOutput) throws {
    switch format {
    case .text:
      for finding in findings { output.write(finding.text) }
      output.write(summary)
    case .json:
      output.write(String(decoding: try KubernetesJSON.encode(self), as: UTF8.self))
    }
  }
}
