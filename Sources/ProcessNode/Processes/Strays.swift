#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Processes of a run whose shim was killed: nobody is their parent any more, but their environment names the run.
enum Strays {
  /// The variable by which the processes of a run are told.
  static let variable = "SWARMSCALE_CONTAINER"

  /// Kills all processes whose environment has `variable` with this value, and those that they start meanwhile.
  ///
  /// A process that has cleared its environment isn't found. Bounded, as one that can't be killed would be found for ever.
  static func kill(_ value: String) {
    let mark = Array("\(variable)=\(value)\0".utf8)
    for _ in 0..<100 {
      let found = Files.names(in: "/proc").compactMap { Int32($0) }.filter { pid in
        guard pid != getpid(), let environment = Files.read("/proc/\(pid)/environ") else { return false }
        return contains(environment, mark)
      }
      if found.isEmpty { return }
      for pid in found { systemKill(pid) }
    }
  }

  /// Whether one of the NUL-terminated texts of an environment is `mark`.
  static func contains(_ environment: [UInt8], _ mark: [UInt8]) -> Bool {
    var rest = environment[...]
    while let end = rest.firstIndex(of: 0) {
      if rest[...end].elementsEqual(mark) { return true }
      rest = rest[(end + 1)...]
    }
    return false
  }
}

// The type's own name hides the system's.
private func systemKill(_ pid: pid_t) { kill(pid, SIGKILL) }
