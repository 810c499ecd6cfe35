/// What a pod may use and uses, read from its control group: version 2, or version 1.
///
/// Memory in use is what the kubelet calls the working set: usage less file pages that nobody has touched of late, which the kernel takes
/// back before it kills. `memory.high` is taken for the limit where it is the lower one: above it the kernel slows everything down.
package struct ControlGroup: Sendable {
  /// Gives a file's text; nil when there is none.
  package typealias Reading = @Sendable (_ path: String) -> String?

  private let read: Reading
  private let root: String

  /// A group whose files are below `root`; in a container that is where its own group is mounted.
  package init(root: String = "/sys/fs/cgroup", reading read: @escaping Reading) {
    self.root = root
    self.read = read
  }

  /// More than any machine has: version 1 writes "no limit" as a number near 2^63.
  private static let boundless = 1 << 50

  /// Bytes that the pod may use; nil: no limit is set, or none can be read.
  package var memoryLimit: Int? {
    if isUnified { return [number("memory.max"), number("memory.high")].compactMap { $0 }.filter { $0 > 0 }.min() }
    return number("memory/memory.limit_in_bytes").flatMap { $0 < Self.boundless ? $0 : nil }
  }

  /// Bytes that it uses and can't give back; nil: they can't be read.
  package var memoryUsed: Int? {
    let (usage, statistics, field) =
      isUnified
      ? ("memory.current", "memory.stat", "inactive_file")
      : ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file")
    guard let used = number(usage) else { return nil }
    return max(0, used - (self.field(field, of: statistics) ?? 0))
  }

  /// CPU time that was used, in microseconds; nil: it can't be read.
  package var cpuUsed: Int? {
    isUnified ? field("usage_usec", of: "cpu.stat") : number("cpuacct/cpuacct.usage").map { $0 / 1_000 }
  }

  /// How many thousandths of a CPU the pod may use; nil: no limit is set.
  package var cpuLimit: Int? {
    let quota: Int?
    let period: Int?
    if isUnified {
      let fields = text("cpu.max")?.split(separator: " ") ?? []
      (quota, period) = (fields.first.flatMap { Int($0) }, fields.last.flatMap { Int($0) })
    } else {
      (quota, period) = (number("cpu/cpu.cfs_quota_us"), number("cpu/cpu.cfs_period_us"))
    }
    guard let quota, let period, quota > 0, period > 0 else { return nil }
    return max(1, quota * 1_000 / period)
  }

  private var isUnified: Bool { text("cgroup.controllers") != nil }

  private func text(_ file: String) -> Substring? {
    read("\(root)/\(file)").map { text in
      var text = Substring(text)
      while text.last?.isWhitespace == true { text.removeLast() }
      return text
    }
  }

  private func number(_ file: String) -> Int? { text(file).flatMap { Int($0) } }

  private func field(_ name: String, of file: String) -> Int? {
    for line in text(file)?.split(separator: "\n") ?? [] {
      let parts = line.split(separator: " ")
      if parts.count == 2, parts[0] == name { return Int(parts[1]) }
    }
    return nil
  }
}
