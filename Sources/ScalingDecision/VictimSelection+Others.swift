import KubernetesCore

extension VictimSelection {
  /// The ordinal at the end of a StatefulSet pod's name; -1: it has none.
  static func ordinal(_ name: String) -> Int {
    guard let dash = name.utf8.lastIndex(of: UInt8(ascii: "-")) else { return -1 }
    let digits = name[name.index(after: dash)...]
    guard digits.utf8.allSatisfy({ (48...57).contains($0) }) else { return -1 }
    return Int(digits) ?? -1
  }

  /// A StatefulSet gives up the highest ordinal, whatever it does: only a removable suffix can go, and it is the highest
  /// ordinals that are told to drain. Ordinals without a pod between them go for nothing.
  func selectByOrdinal(
    _ workers: [WorkerObservation], _ candidates: [Candidate], current: Int, goal: Int, isComplete: Bool,
    _ result: inout Result
  ) {
    let surplus = max(candidates.count - current, 0)
    // Without `spec.ordinals.start` the highest is one less than the count.
    var expected = candidates.first.map { max($0.ordinal, current - 1) } ?? current - 1
    if !isComplete || surplus > 0 { expected = candidates.first?.ordinal ?? expected }
    var wanted = current - goal + surplus
    var free = 0
    var removable: [Int] = []
    var chosen = 0
    var isOpen = true
    for (place, candidate) in candidates.enumerated() {
      let gap = isComplete ? min(max(expected - candidate.ordinal, 0), wanted) : 0
      wanted -= gap
      if isOpen { free += gap }
      expected = candidate.ordinal - 1
      guard wanted > 0 else { break }
      wanted -= 1
      chosen = place + 1
      if isOpen, candidate.standing.isRemovable {
        removable.append(place)
        if candidate.standing == .timedOut, result.timedOut == nil { result.timedOut = workers[candidate.index].name }
      } else {
        if isOpen { result.shield = workers[candidate.index].name }
        isOpen = false
      }
    }
    if isOpen { free += min(max(wanted, 0), max(current - candidates.count - free, 0)) }
    let shields = candidates.prefix(chosen).dropFirst(removable.count + 1).contains { $0.standing.isRemovable }
    if !shields { result.shield = nil }
    addOrders(workers, candidates, chosen, spared: min(surplus, chosen), &result)
    result.replicas = current - min(max(free + removable.count - surplus, 0), current - goal)
    if result.replicas < current { result.victims = removable.map { workers[candidates[$0].index].name } }
  }

  /// Where no worker reports its work, those who use least are marked to go first, and the count is written at once: the
  /// next best to knowing, and no more than that.
  func selectByUsage(
    _ workers: [WorkerObservation], current: Int, goal: Int, _ usage: [String: Int64], _ result: inout Result
  ) {
    result.replicas = goal
    result.exposure = .noReports
    guard drain.removal != .ordinal, drain.heedsDeletionCost, !usage.isEmpty else { return }
    let alive = workers.indices.filter { workers[$0].isAlive }
    let number = alive.count - goal
    guard number > 0 else { return }
    let ordered = alive.map { index in
      (index: index, tier: workers[index].isReady ? 1 : 0, use: usage[workers[index].name] ?? .max)
    }.sorted { ($0.tier, $0.use, $0.index) < ($1.tier, $1.use, $1.index) }
    // As many as may be marked at once; a greater shrink takes several steps.
    let step = min(number, max(alive.count - current, 0) + Self.markLimit)
    result.replicas = min(current, alive.count - step)
    for (place, entry) in ordered.enumerated() {
      let worker = workers[entry.index]
      if place < step {
        result.victims.append(worker.name)
        if worker.deletionCost > Self.victimCost {
          result.orders.append(.setDeletionCost(worker: worker.name, cost: Self.victimCost))
        }
      } else if worker.deletionCost <= Self.victimCost {
        result.orders.append(.setDeletionCost(worker: worker.name, cost: 0))
      }
    }
  }
}
