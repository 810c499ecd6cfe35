package import CoordinationCore

/// The plan as pods see it. Written by the leader, when it changes, under its epoch.
package struct PublishedPlan: Hashable, Sendable {
  /// The leadership that made it.
  package var epoch: UInt64 = 0
  /// Rises with each plan, whoever leads.
  package var version: UInt64 = 0
  /// The leader's pod.
  package var leader = ""
  /// How the fleet is coordinated.
  package var tier = FleetTier.inProcess
  /// Over how many shards queues are spread.
  package var layout = ShardLayout()
  /// The cells, with the agents of each pod.
  package var cells: [Int: [String: Int]] = [:]
  /// The next cell's number.
  package var nextCell = 1
  /// The cell of each shard.
  package var shards: [Int?] = []
  /// The pod of each cell that sums it up.
  package var heads: [Int: String] = [:]
  /// The pods that look after the leader, beside it.
  package var standbys: [String] = []
  /// The weights of the lanes high, normal and bulk.
  package var weights = [16, 4, 1]
  /// Whether bulk tasks are turned away.
  package var shedsBulk = false

  /// The plan of a fleet that nobody leads.
  package init() {}

  /// How many pods it knows.
  package var pods: Int { cells.values.reduce(0) { $0 + $1.count } }
  /// How many agents.
  package var agents: Int { cells.values.reduce(0) { $0 + $1.values.reduce(0, +) } }

  /// The cell of a pod.
  package func cell(of pod: String) -> Int? { cells.first { $0.value[pod] != nil }?.key }

  /// Whether it says the same as another one, whoever said it and when.
  func isSame(as other: PublishedPlan) -> Bool {
    var other = other
    other.version = version
    return self == other
  }

  /// Reads what `bytes` wrote; nil for anything else.
  package init?(_ bytes: [UInt8]) {
    guard let text = FleetText(bytes, kind: "plan"), let epoch: UInt64 = text.number("epoch"),
      let version: UInt64 = text.number("version")
    else { return nil }
    (self.epoch, self.version) = (epoch, version)
    leader = text.word("leader") ?? ""
    tier = text.number("tier").flatMap(FleetTier.init(rawValue:)) ?? .inProcess
    layout.shards = max(1, text.number("layout") ?? 1)
    layout.next = text.number("layout-next")
    layout.since = text.number("layout-since") ?? 0
    layout.older = text.words("layout-older").compactMap { Int($0) }
    nextCell = text.number("next-cell") ?? 1
    shards = text.words("shards").map { Int($0) }
    standbys = text.words("standbys").map(String.init)
    weights = text.words("weights").compactMap { Int($0) }
    shedsBulk = text.word("sheds-bulk") == "1"
    for words in text.all("cell") {
      guard let number = words.first.flatMap({ Int($0) }) else { continue }
      var pods: [String: Int] = [:]
      for word in words.dropFirst() {
        let parts = word.split(separator: ":")
        guard parts.count == 2, let agents = Int(parts[1]) else { return nil }
        pods[String(parts[0])] = agents
      }
      cells[number] = pods
    }
    for words in text.all("head") where words.count == 2 {
      if let cell = words.first.flatMap({ Int($0) }) { heads[cell] = words.last.map(String.init) }
    }
  }

  /// As it is kept: the same bytes for the same plan.
  package var bytes: [UInt8] {
    var text = FleetText(kind: "plan")
    text.add("epoch", epoch)
    text.add("version", version)
    if !leader.isEmpty { text.add("leader", leader) }
    text.add("tier", tier.rawValue)
    text.add("layout", layout.shards)
    if let next = layout.next { text.add("layout-next", next) }
    text.add("layout-since", layout.since)
    text.add("layout-older", layout.older.map { "\($0)" })
    text.add("next-cell", nextCell)
    text.add("shards", shards.map { $0.map { "\($0)" } ?? "-" })
    text.add("standbys", standbys)
    text.add("weights", weights.map { "\($0)" })
    text.add("sheds-bulk", shedsBulk ? 1 : 0)
    for (cell, pods) in cells.sorted(by: { $0.key < $1.key }) {
      text.add("cell", ["\(cell)"] + pods.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" })
    }
    for (cell, head) in heads.sorted(by: { $0.key < $1.key }) { text.add("head", ["\(cell)", head]) }
    return text.bytes
  }
}

/// What changes with the load: written by the leader at most once a second, and forgotten by the store when no leader renews it.
package struct FleetFlow: Hashable, Sendable {
  /// The leadership that made it.
  package var epoch: UInt64 = 0
  /// Rises with each one.
  package var version: UInt64 = 0
  /// Who may claim elsewhere.
  package var transfers: [CellBalancer.Transfer] = []
  /// Each cell's part of the budget.
  package var budgets: [Int: Int] = [:]
  /// The slots that each cell has work for.
  package var desiredSlots: [Int: Int] = [:]

  /// Nothing moves.
  package init() {}

  /// Reads what `bytes` wrote; nil for anything else.
  package init?(_ bytes: [UInt8]) {
    guard let text = FleetText(bytes, kind: "flow"), let epoch: UInt64 = text.number("epoch"),
      let version: UInt64 = text.number("version")
    else { return nil }
    (self.epoch, self.version) = (epoch, version)
    for words in text.all("transfer") {
      let numbers = words.compactMap { Int($0) }
      guard numbers.count == 3 else { return nil }
      transfers.append(.init(from: numbers[0], to: numbers[1], tasks: numbers[2]))
    }
    for words in text.all("cell") {
      let numbers = words.compactMap { Int($0) }
      guard numbers.count == 3 else { return nil }
      budgets[numbers[0]] = numbers[1]
      desiredSlots[numbers[0]] = numbers[2]
    }
  }

  /// As it is kept.
  package var bytes: [UInt8] {
    var text = FleetText(kind: "flow")
    text.add("epoch", epoch)
    text.add("version", version)
    for transfer in transfers { text.add("transfer", ["\(transfer.from)", "\(transfer.to)", "\(transfer.tasks)"]) }
    for cell in Set(budgets.keys).union(desiredSlots.keys).sorted() {
      text.add("cell", ["\(cell)", "\(budgets[cell] ?? 0)", "\(desiredSlots[cell] ?? 0)"])
    }
    return text.bytes
  }
}

extension CellSummary {
  /// Reads what `bytes` wrote, as of the reader's `now`; nil for anything else.
  package init?(_ bytes: [UInt8], now: Duration) {
    guard let text = FleetText(bytes, kind: "summary"), let cell: Int = text.number("cell") else { return nil }
    self.init(
      cell: cell, waiting: text.number("waiting") ?? 0,
      oldest: .milliseconds(text.number("oldest-ms") ?? 0 as Int), freeSlots: text.number("free") ?? 0,
      slots: text.number("slots") ?? 0, at: now)
  }

  /// As it is kept; the time is the reader's.
  package var bytes: [UInt8] {
    var text = FleetText(kind: "summary")
    text.add("cell", cell)
    text.add("waiting", waiting)
    text.add("oldest-ms", oldest.milliseconds)
    text.add("free", freeSlots)
    text.add("slots", slots)
    return text.bytes
  }
}

extension Duration {
  /// Whole milliseconds.
  var milliseconds: Int { Int(components.seconds) * 1_000 + Int(components.attoseconds / 1_000_000_000_000_000) }
}

extension FleetTier {
  /// The name in metrics and log lines.
  package var name: String {
    switch self {
    case .inProcess: "in-process"
    case .orchestrated: "orchestrated"
    case .pods: "pods"
    case .cells: "cells"
    }
  }
}
