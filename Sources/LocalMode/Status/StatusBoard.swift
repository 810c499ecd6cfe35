/// The live status as lines of text: one a fleet and one a budget, whatever the terminal's width. Pure.
struct StatusBoard: Sendable {
  /// How many counts of before a fleet's line shows; with one a second, half a minute.
  static let historyLength = 30
  private static let bars = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

  private var fleets: [(status: FleetStatus, history: [Int64])] = []
  private var budgets: [BudgetStatus] = []
  private var notes: [String] = []

  init() {}

  /// Takes what was read this second; `notes` are lines that stand below as they are.
  mutating func update(fleets: [FleetStatus], budgets: [BudgetStatus], notes: [String] = []) {
    let histories = Dictionary(
      self.fleets.map { ($0.status.name, $0.history) }, uniquingKeysWith: { first, _ in first })
    self.fleets = fleets.sorted { $0.name < $1.name }
      .map { fleet in (fleet, ((histories[fleet.name] ?? []) + [fleet.current]).suffix(Self.historyLength)) }
    self.budgets = budgets.sorted { $0.name < $1.name }
    self.notes = notes
  }

  /// The lines, none longer than `width` columns; at most `height`, the last of which says how many are left out.
  func lines(width: Int, height: Int) -> [String] {
    let names = fleets.map(\.status.name) + budgets.map(\.name)
    let column = min(names.map(\.count).max() ?? 0, max(width / 3, 8))
    var lines = fleets.map { Self.padded($0.status.name, column) + "  " + Self.text($0.status, $0.history) }
    lines += budgets.map { Self.padded($0.name, column) + "  " + Self.text($0) }
    lines += notes
    if lines.count > height, height > 0 {
      lines = Array(lines.prefix(height - 1)) + ["… and \(lines.count - height + 1) more; the page shows them"]
    }
    return lines.map { Self.fitted($0, width) }
  }

  private static func text(_ fleet: FleetStatus, _ history: [Int64]) -> String {
    var parts = [
      sparkline(history, most: max(fleet.bounds?.upperBound ?? 0, history.max() ?? 0)),
      fleet.current == fleet.desired ? "\(fleet.current) workers" : "\(fleet.current) → \(fleet.desired) workers",
    ]
    if let bounds = fleet.bounds { parts.append("(\(bounds.lowerBound)–\(bounds.upperBound))") }
    if let limit = fleet.limitedBy { parts.append("limited by \(limit)") }
    if let targets = fleet.targets { parts.append("· \(targets)") }
    return parts.joined(separator: " ")
  }

  private static func text(_ budget: BudgetStatus) -> String {
    var parts = [budget.summary, "\(budget.waiting) waiting"]
    if let wait = budget.waitP95 { parts.append("p95 \(wait / 1000).\(wait % 1000 / 100) s") }
    parts.append("\(budget.rejections) × 429")
    return parts.joined(separator: " · ")
  }

  /// A bar for each count, as high as its part of `most`; filled up in front, so that lines stand still.
  private static func sparkline(_ history: [Int64], most: Int64) -> String {
    let top = Int64(bars.count - 1)
    let drawn = history.map { most > 0 ? bars[Int(min(max($0 * top / most, 0), top))] : bars[0] }
    return String(repeating: " ", count: max(historyLength - history.count, 0)) + drawn.joined()
  }

  private static func padded(_ text: String, _ column: Int) -> String {
    let fitted = fitted(text, column)
    return fitted + String(repeating: " ", count: max(column - fitted.count, 0))
  }

  /// Cuts what is too long. Names in Kubernetes are ASCII and our own signs one column wide, so a character is a column;
  /// control characters, which could move the cursor, are replaced.
  private static func fitted(_ text: String, _ width: Int) -> String {
    let clean = String(text.map { $0.unicodeScalars.contains { $0.properties.generalCategory == .control } ? "?" : $0 })
    return clean.count <= width ? clean : String(clean.prefix(max(width - 1, 0))) + "…"
  }
}
