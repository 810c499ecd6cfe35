import KubernetesCore
import Testing

@testable import LocalMode

@Suite("The live status as lines")
struct StatusBoardTests {
  static let fleet: JSONValue = [
    "metadata": ["namespace": "default", "name": "reviewers"],
    "status": [
      "currentReplicas": 7, "desiredReplicas": 9, "minReplicas": 3, "maxReplicas": 20, "limitedBy": "ceiling",
      "targets": "backlog: 24/2, API: 22%/85-95%",
    ],
  ]
  static let budget: JSONValue = [
    "metadata": ["namespace": "default", "name": "claude"],
    "status": [
      "summary": "requests 15%", "queueWaitP95Milliseconds": 5301,
      "dimensions": [
        ["name": "InputTokensPerMinute", "waiting": "369"], ["name": "RequestsPerMinute", "waiting": "12"],
      ],
      "rejections": ["overloaded": 5, "ramp": 1, "rate": 2, "spend": 0],
    ],
  ]

  static func board(_ fleets: [JSONValue] = [fleet], _ budgets: [JSONValue] = [budget]) -> StatusBoard {
    var board = StatusBoard()
    board.update(fleets: fleets.compactMap(FleetStatus.init), budgets: budgets.compactMap(BudgetStatus.init))
    return board
  }

  @Test("A fleet and a budget have a line each, their names in one column")
  func lines() {
    let blank = String(repeating: " ", count: StatusBoard.historyLength - 1)
    #expect(
      Self.board().lines(width: 200, height: 10) == [
        "default/reviewers  \(blank)▃ 7 → 9 workers (3–20) limited by ceiling · backlog: 24/2, API: 22%/85-95%",
        "default/claude     requests 15% · 12 waiting · p95 5.3 s · 3 × 429",
      ])
  }

  @Test("A line for a plain output names the count, the decision and what limits it")
  func plainLine() throws {
    var object = Self.fleet
    #expect(try #require(FleetStatus(object)).line == "7 workers, 9 decided, limited by ceiling")
    object["status"] = ["currentReplicas": 7, "desiredReplicas": 7]
    #expect(try #require(FleetStatus(object)).line == "7 workers")
  }

  @Test("An object without a status has no line")
  func withoutStatus() {
    let bare: JSONValue = ["metadata": ["name": "new"]]
    #expect(Self.board([bare], [bare]).lines(width: 80, height: 10).isEmpty)
  }

  @Test("The history keeps the last counts of each fleet, highest where it was at its most")
  func history() {
    var board = StatusBoard()
    for count in 0..<45 {
      var object = Self.fleet
      object["status"] = ["currentReplicas": .int(Int64(count % 21)), "minReplicas": 0, "maxReplicas": 20]
      board.update(fleets: [FleetStatus(object)].compactMap(\.self), budgets: [])
    }
    let line = board.lines(width: 200, height: 10)[0]
    let drawn = line.filter { "▁▂▃▄▅▆▇█".contains($0) }
    #expect(drawn.count == StatusBoard.historyLength)
    // The last counts are 15…20, 0…20, 0, 1, 2; only 20 is the maximum.
    #expect(drawn.filter { $0 == "█" }.count == 2)
    #expect(drawn.hasSuffix("█▁▁▁"))
  }

  @Test("A fleet that is gone loses its line and its history")
  func gone() {
    var board = Self.board()
    board.update(fleets: [], budgets: [])
    #expect(board.lines(width: 80, height: 10).isEmpty)
    board.update(fleets: [FleetStatus(Self.fleet)].compactMap(\.self), budgets: [])
    #expect(board.lines(width: 200, height: 10)[0].filter { "▁▂▃▄▅▆▇█".contains($0) }.count == 1)
  }

  @Test("No line is wider than the terminal, and none too many", arguments: [0, 1, 8, 20, 37, 80, 200])
  func fits(width: Int) {
    let many = (0..<50).map { number -> JSONValue in
      var object = Self.fleet
      object["metadata"] = ["namespace": "default", "name": .string("fleet-\(number)")]
      return object
    }
    let lines = Self.board(many).lines(width: width, height: 12)
    #expect(lines.count == 12)
    #expect(lines.allSatisfy { $0.count <= max(width, 1) })
    if width >= 80 { #expect(lines.last == "… and 40 more; the page shows them") }
  }

  @Test("A control character in a status can't move the cursor")
  func hostile() {
    var object = Self.fleet
    object["status"] = ["currentReplicas": 1, "limitedBy": "a\u{1B}[2Jb\nc"]
    let line = Self.board([object], []).lines(width: 200, height: 10)[0]
    #expect(line.contains("limited by a?[2Jb?c"))
  }
}
