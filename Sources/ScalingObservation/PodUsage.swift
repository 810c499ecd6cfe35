package import KubernetesCore
import ScalingDecision

/// What one pod used, per container, in thousandths of a core and of a byte.
package struct PodUsage: Hashable, Sendable {
  /// One container's use; nil where the metrics API didn't say.
  package struct Container: Hashable, Sendable {
    /// The container's name.
    package var name: String
    /// Thousandths of a core.
    package var cpu: Int64? {
      get { packedCPU.value }
      set { packedCPU = PackedAmount(newValue) }
    }
    /// Thousandths of a byte.
    package var memory: Int64? {
      get { packedMemory.value }
      set { packedMemory = PackedAmount(newValue) }
    }
    private var packedCPU: PackedAmount
    private var packedMemory: PackedAmount

    /// Makes a container's use.
    package init(name: String, cpu: Int64? = nil, memory: Int64? = nil) {
      self.name = name
      packedCPU = PackedAmount(cpu)
      packedMemory = PackedAmount(memory)
    }

    fileprivate func milli(of resource: ComputeResource) -> Int64? {
      switch resource {
      case .cpu: cpu
      case .memory: memory
      }
    }
  }

  /// The pod's name.
  package var pod: String
  /// The end of the measuring window.
  package var at: Timestamp
  /// The length of the measuring window.
  package var window: Duration
  /// The containers.
  package var containers: [Container] {
    get { first.map { [$0] + others } ?? [] }
    set { (first, others) = (newValue.first, Array(newValue.dropFirst())) }
  }
  // Ten thousand are kept, most of them of pods with one container: an array for each would be more than all the rest.
  private var first: Container?
  private var others: [Container]

  /// Makes a pod's use.
  package init(pod: String, at: Timestamp, window: Duration, containers: [Container]) {
    self.pod = pod
    self.at = at
    self.window = window
    (first, others) = (containers.first, Array(containers.dropFirst()))
  }

  /// Adds a container behind the others.
  mutating func append(_ container: Container) {
    if first == nil { first = container } else { others.append(container) }
  }

  /// The use of the named resource by one container, or by all; nil when any needed number is missing.
  ///
  /// As in the HPA, a pod with one silent container has no sample at all: a partial sum would look like idleness.
  package func milli(of resource: String, container: String?) -> Int64? {
    guard let resource = ComputeResource(rawValue: resource) else { return nil }
    if let container {
      let found = first?.name == container ? first : others.first { $0.name == container }
      return found?.milli(of: resource)
    }
    guard var total = first?.milli(of: resource) else { return nil }
    for container in others {
      guard let value = container.milli(of: resource) else { return nil }
      let (sum, overflow) = total.addingReportingOverflow(value)
      total = overflow ? .max : sum
    }
    return total
  }
}

/// An optional amount in eight bytes instead of sixteen.
private struct PackedAmount: Hashable {
  // The least number, which no server counts in, stands for none.
  private var raw: Int64

  init(_ value: Int64?) {
    raw = value.map { max($0, .min + 1) } ?? .min
  }

  var value: Int64? { raw == .min ? nil : raw }
}

extension PodUsage {
  /// Those of `usage` whose pods are named; both are sorted by name. A name without use is left out.
  package static func select(_ names: [String], from usage: [PodUsage]) -> [PodUsage] {
    var selected: [PodUsage] = []
    selected.reserveCapacity(names.count)
    var start = 0
    for (index, name) in names.enumerated() {
      var end = usage.count
      if index > 0 {
        // The pods of one target mostly stand side by side: wider and wider steps from the last one, not the middle of a long
        // list. So the cost of an autoscaler doesn't grow with its namespace.
        var width = 1
        while start + width <= usage.count, usage[start + width - 1].pod < name {
          start += width
          width *= 2
        }
        end = min(start + width - 1, usage.count)
      }
      while start < end {
        let middle = start + (end - start) / 2
        if usage[middle].pod < name { start = middle + 1 } else { end = middle }
      }
      while start < usage.count, usage[start].pod == name {
        selected.append(usage[start])
        start += 1
      }
    }
    return selected
  }
}
