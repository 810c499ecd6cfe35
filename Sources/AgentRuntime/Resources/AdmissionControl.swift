package import CoordinationCore

/// How many agents may begin, by memory, CPU and the rung of the ladder. Pure: measurements and time are arguments.
///
/// Three rules, from the strictest: nothing new on the rungs that say so; no agent whose expected memory would lift the process above the band's
/// upper mark, and once memory itself has passed that mark none until it is below the lower one; no more agents than the CPU carries within its band. Whatever memory
/// and CPU say, **one agent may always run**: otherwise nothing would ever end, and nothing be freed.
package struct AdmissionControl: Sendable {
  /// The bands.
  package struct Policy: Hashable, Sendable {
    /// Memory in use, in percent of the limit: the upper mark is kept, the lower one is where it begins again after it was passed.
    package var memory = 70...85
    /// CPU in use, in percent of what the pod may use.
    package var cpu = 70...85
    /// How many more agents than now the CPU lets begin while it is below its band, in percent of those that run.
    package var growth = 25

    /// The bands of the design.
    package init() {}
  }

  /// What was measured. Nil: it can't be, and isn't a reason.
  package struct Measurement: Hashable, Sendable {
    /// Bytes that the pod may use.
    package var limit: Int?
    /// Bytes that it uses and can't give back.
    package var used: Int?
    /// CPU in use, in percent of what the pod may use.
    package var cpu: Int?

    /// Puts it together.
    package init(limit: Int? = nil, used: Int? = nil, cpu: Int? = nil) {
      self.limit = limit
      self.used = used
      self.cpu = cpu
    }
  }

  /// Why an agent must wait.
  package enum Reason: String, Hashable, Sendable, CaseIterable {
    /// Its memory doesn't fit.
    case memory
    /// The CPU is as busy as it may be.
    case cpu
    /// The ladder lets nothing new begin.
    case degraded
    /// It is bulk work, and that is shed.
    case bulk
  }

  package let policy: Policy
  private var estimator = MemoryEstimator()
  private var running: [String: Int] = [:]
  /// Bytes that are expected of those that run.
  package private(set) var reserved = 0
  private var count = 0
  private var measured = Measurement()
  /// The least that the process has used without agents.
  private var idle: Int?
  private var isOverMemory = false
  /// How many agents the CPU carries; nil: no bound.
  package private(set) var cpuAllowance: Int?
  /// The rung, and what led there.
  package var rung = DegradationRung.normal
  package var cause: DegradationCause?

  /// Knows nothing, and admits whatever comes.
  package init(policy: Policy = Policy()) { self.policy = policy }

  /// How many agents run.
  package var agents: Int { count }
  /// Bytes expected of an agent of a kind.
  package func expected(_ kind: String) -> Int { estimator.bytes(kind) }
  /// The last measurement.
  package var measurement: Measurement { measured }

  /// Memory in use, in percent of the limit; 0 when there is none.
  package var memoryPercent: Int {
    guard let limit = measured.limit, limit > 0, let used = measured.used else { return 0 }
    return used * 100 / limit
  }

  /// Bytes that may still be given to new agents; nil: no bound.
  package var room: Int? {
    guard let limit = measured.limit, let used = measured.used else { return nil }
    guard !isOverMemory else { return 0 }
    // What runs may not have all that is expected of it yet.
    return max(0, limit / 100 * policy.memory.upperBound - max(used, (idle ?? used) + reserved))
  }

  /// Why an agent of a kind may not begin now; nil: it may. `declared`: the bytes it says it needs.
  package func refusal(_ kind: String, declared: Int? = nil, isBulk: Bool = false) -> Reason? {
    if let reason = ladderRefusal(isBulk) { return reason }
    guard count > 0 else { return nil }
    if let room, (declared ?? estimator.bytes(kind)) > room { return .memory }
    if let cpuAllowance, count >= cpuAllowance { return .cpu }
    return nil
  }

  private func ladderRefusal(_ isBulk: Bool) -> Reason? {
    switch rung {
    case .normal: return nil
    case .shedBulk, .smallerModel: return isBulk ? .bulk : nil
    case .noNewTasks, .finishSteps, .park: return cause == .memory && count == 0 ? nil : .degraded
    }
  }

  /// How many agents may run at once, as things are, if further ones are of a kind; nil: no bound. Without a kind they are like those
  /// that run. `slots`: how many the worker has.
  package func allowance(_ kind: String? = nil, slots: Int) -> Int? {
    if ladderRefusal(false) != nil { return count > 0 || cause != .memory ? 0 : 1 }
    var bounds: [Int] = []
    if let room {
      bounds.append(
        count + room / max(1, kind.map(estimator.bytes) ?? (count > 0 ? reserved / count : MemoryEstimator.unknown)))
    }
    if let cpuAllowance { bounds.append(cpuAllowance) }
    // The rung of smaller batches.
    if rung == .smallerModel, slots > 0 { bounds.append((slots + 1) / 2) }
    return bounds.min().map { max(1, $0) }
  }

  /// An agent begins; gives the bytes that are set aside for it, which `end` takes.
  package mutating func begin(_ kind: String, declared: Int? = nil) -> Int {
    let bytes = declared ?? estimator.bytes(kind)
    reserved += bytes
    count += 1
    running[kind, default: 0] += 1
    return bytes
  }

  /// An agent waits, and keeps its memory: it is none of those that run.
  package mutating func pause(_ kind: String) {
    count -= 1
    if let left = running[kind] { running[kind] = left > 1 ? left - 1 : nil }
  }

  /// It goes on.
  package mutating func resume(_ kind: String) {
    count += 1
    running[kind, default: 0] += 1
  }

  /// An agent that runs has ended, or waits parked.
  package mutating func end(_ kind: String, bytes: Int) {
    reserved -= bytes
    pause(kind)
  }

  /// Takes note of a measurement.
  package mutating func note(_ measurement: Measurement) {
    measured = measurement
    if let used = measurement.used {
      if count == 0 { idle = idle.map { min($0, used) } ?? used }
      // Of memory that was measured for the first time with agents at work nobody knows whose it is.
      if let idle, count > 0 { estimator.observe(used - idle, running: running) }
      if let limit = measurement.limit, limit > 0 {
        let percent = used * 100 / limit
        if percent >= policy.memory.upperBound { isOverMemory = true }
        if percent < policy.memory.lowerBound { isOverMemory = false }
      }
    }
    noteCPU(measurement.cpu)
  }

  /// As many agents as would bring the CPU to the middle of its band, if each takes what those that run take; inside the band as many as there are.
  private mutating func noteCPU(_ cpu: Int?) {
    guard let cpu else {
      cpuAllowance = nil
      return
    }
    let most = max(1, count + max(1, count * policy.growth / 100))
    if policy.cpu.contains(cpu) {
      cpuAllowance = max(1, count)
    } else if cpu > policy.cpu.upperBound {
      let middle = (policy.cpu.lowerBound + policy.cpu.upperBound) / 2
      cpuAllowance = max(1, count * middle / max(1, cpu))
    } else if let old = cpuAllowance {
      // Far below: no bound, until it is near the band again.
      cpuAllowance = cpu * 2 < policy.cpu.lowerBound ? nil : max(old, most)
    } else if cpu * 2 >= policy.cpu.lowerBound {
      cpuAllowance = most
    }
  }
}
