#if canImport(System)
  import System
#else
  import SystemPackage
#endif

/// Where a command writes: the terminal, or a test.
package struct CommandOutput {
  /// Takes one line of the result.
  package var write: (String) -> Void
  /// Takes one line of remarks and progress.
  package var remark: (String) -> Void

  /// Makes an output.
  package init(write: @escaping (String) -> Void, remark: @escaping (String) -> Void) {
    self.write = write
    self.remark = remark
  }

  /// Standard output and standard error.
  package static var standard: CommandOutput {
    CommandOutput(
      write: { print($0) },
      // A remark that can't be written is no reason to fail.
      remark: { _ = try? FileDescriptor.standardError.writeAll(($0 + "\n").utf8) })
  }
}

/// `1 error`, `2 errors`.
func counted(_ count: Int, _ noun: String, plural: String? = nil) -> String {
  "\(count) \(count == 1 ? noun : plural ?? noun + "s")"
}
