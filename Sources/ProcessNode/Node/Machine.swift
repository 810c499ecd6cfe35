package import KubernetesCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What this machine has.
package struct Machine: Hashable, Sendable {
  /// The processors that are online.
  package var processors: Int
  /// All memory, in bytes.
  package var memoryBytes: Int64

  /// Reads the machine's facts.
  package init() {
    processors = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    memoryBytes =
      Self.memory("MemTotal:") ?? Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE)))
  }

  /// A line of /proc/meminfo, in bytes.
  static func memory(_ label: String) -> Int64? {
    guard let bytes = Files.read("/proc/meminfo") else { return nil }
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix(label) {
      return line.split(separator: " ").dropFirst().first.flatMap { Int64($0) }.map { $0 * 1_024 }
    }
    return nil
  }

  /// CPU time that all processors have spent on work since the machine started, in nanoseconds.
  static func cpuNanoseconds() -> UInt64? {
    guard let bytes = Files.read("/proc/stat"),
      let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first
    else { return nil }
    // user nice system idle iowait irq softirq steal; guest times are in user and nice already.
    let ticks = line.split(separator: " ").dropFirst().prefix(8).compactMap { UInt64($0) }
    guard ticks.count == 8 else { return nil }
    let busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]
    return busy * (1_000_000_000 / UInt64(max(1, sysconf(Int32(_SC_CLK_TCK)))))
  }
}

/// Which pods the node takes, and what they have set aside. Pure.
package struct Admission: Sendable {
  /// Why a pod isn't taken.
  package struct Refusal: Hashable, Sendable {
    /// `OutOfpods`, `OutOfcpu` or `OutOfmemory`.
    package var reason: String
    /// Why, in words.
    package var message: String
  }

  /// What may be set aside, by resource (`cpu`, `memory`, `pods`).
  package let allocatable: [String: Quantity]
  private var admitted: [String: [String: Quantity]] = [:]

  /// Makes an admission without pods.
  package init(allocatable: [String: Quantity]) { self.allocatable = allocatable }

  /// Takes a pod, or says why not, as the kubelet words it.
  package mutating func admit(_ pod: PodManifest) -> Refusal? {
    let requests = pod.requests
    for resource in ["pods", "cpu", "memory"] {
      guard let room = allocatable[resource] else { continue }
      let asked = resource == "pods" ? Quantity(1) : requests[resource] ?? .zero
      if asked.isZero { continue }
      let used = used(resource)
      guard used + asked > room else { continue }
      func number(_ quantity: Quantity) -> Int64 { resource == "cpu" ? quantity.milliValue : quantity.value }
      return Refusal(
        reason: "OutOf\(resource)",
        message: "Pod was rejected: Node didn't have enough resource: \(resource), requested: \(number(asked)), "
          + "used: \(number(used)), capacity: \(number(room))")
    }
    admitted[pod.uid] = requests
    return nil
  }

  /// Lets a pod's share go.
  package mutating func release(_ uid: String) { admitted[uid] = nil }

  private func used(_ resource: String) -> Quantity {
    if resource == "pods" { return Quantity(Int64(admitted.count)) }
    return admitted.values.reduce(Quantity.zero) { $0 + ($1[resource] ?? .zero) }
  }
}

extension PodManifest {
  /// What the pod needs at its worst moment: app and sidecars together, or one init container beside the sidecars before it.
  package var requests: [String: Quantity] {
    var total: [String: Quantity] = [:]
    for resource in ["cpu", "memory"] {
      var (sidecars, highest, apps) = (Quantity.zero, Quantity.zero, Quantity.zero)
      for container in containers {
        let asked = container.requests[resource] ?? container.limits[resource] ?? .zero
        switch container.role {
        case .initial: highest = max(highest, sidecars + asked)
        case .sidecar: sidecars = sidecars + asked
        case .app: apps = apps + asked
        }
      }
      total[resource] = max(highest, sidecars + apps)
    }
    return total
  }
}

/// Hands out loopback addresses to pods: a block of 4,094 within 127.64.0.0/10, each address as late again as can be. Pure.
package struct AddressPool: Sendable {
  private let base: UInt32
  private var next: UInt32 = 1
  private var used: Set<UInt32> = []

  /// Makes a pool; nodes on one machine have different blocks, 0…1023, so that their pods' ports don't collide.
  package init(block: Int) { base = 127 << 24 | 64 << 16 | UInt32(block & 1_023) << 12 }

  /// Takes an address; nil when all are in use.
  package mutating func take() -> String? {
    for _ in 1..<4_095 {
      let number = next
      next = next == 4_094 ? 1 : next + 1
      if used.insert(number).inserted { return Self.text(base + number) }
    }
    return nil
  }

  /// Gives an address back.
  package mutating func giveBack(_ address: String) {
    let parts = address.split(separator: ".").compactMap { UInt32($0) }
    guard parts.count == 4 else { return }
    let number = parts[0] << 24 | parts[1] << 16 | parts[2] << 8 | parts[3]
    if number > base { used.remove(number - base) }
  }

  private static func text(_ number: UInt32) -> String {
    "\(number >> 24).\(number >> 16 & 255).\(number >> 8 & 255).\(number & 255)"
  }
}
