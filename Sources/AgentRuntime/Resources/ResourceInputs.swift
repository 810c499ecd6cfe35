package import CoordinationCore

/// What a resource manager looks at, beside memory and CPU: each gives its cause's value in the unit of `DegradationCause`, now.
package struct ResourceInputs: Sendable {
  /// What can be measured; a cause without a row is no reason.
  package var causes: [DegradationCause: @Sendable () -> Int]
  /// Bytes that the pod may use and uses.
  package var memory: @Sendable () -> (limit: Int?, used: Int?)
  /// CPU time used so far in microseconds, and how many thousandths of a CPU may be used; nil: it can't be measured.
  package var cpu: @Sendable () -> (used: Int, thousandths: Int)?

  /// Puts them together; without arguments nothing is measured.
  package init(
    causes: [DegradationCause: @Sendable () -> Int] = [:],
    memory: @escaping @Sendable () -> (limit: Int?, used: Int?) = { (nil, nil) },
    cpu: @escaping @Sendable () -> (used: Int, thousandths: Int)? = { nil }
  ) {
    self.causes = causes
    self.memory = memory
    self.cpu = cpu
  }

  /// Memory and CPU of a control group; `memoryLimit`: a limit that holds where the group has none; `processors`: of the machine.
  package init(
    group: ControlGroup, memoryLimit: Int? = nil, processors: Int, causes: [DegradationCause: @Sendable () -> Int] = [:]
  ) {
    self.init(
      causes: causes,
      memory: { ([group.memoryLimit, memoryLimit].compactMap { $0 }.min(), group.memoryUsed) },
      cpu: { group.cpuUsed.map { ($0, group.cpuLimit ?? processors * 1_000) } })
  }
}
