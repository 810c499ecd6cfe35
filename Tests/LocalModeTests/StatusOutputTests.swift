import KubernetesCore
import Logging
import Synchronization
import Testing

@testable import LocalMode

@Suite("Standard output with a block that is drawn in place")
struct StatusOutputTests {
  /// As much of a terminal as the block needs: text, newlines, cursor up, return, clear to the end.
  private final class Screen: Sendable {
    private struct State {
      var rows: [String] = [""]
      var row = 0
      var written = ""
    }
    private let state = Mutex(State())

    var rows: [String] { state.withLock { $0.rows } }
    var written: String { state.withLock { $0.written } }

    func write(_ text: String) {
      state.withLock { state in
        state.written += text
        var rest = text[...]
        while let character = rest.first {
          rest.removeFirst()
          switch character {
          case "\n":
            state.row += 1
            if state.row == state.rows.count { state.rows.append("") }
          case "\r": break
          case "\u{1B}":
            let end = rest.firstIndex { $0.isLetter } ?? rest.startIndex
            let number = Int(rest[..<end].dropFirst()) ?? 0
            if rest[end] == "A" {
              #expect(number <= state.row, "above the first row")
              state.row = max(0, state.row - number)
            } else if rest[end] == "J" {
              state.rows = state.rows.prefix(state.row) + [""]
            } else {
              Issue.record("an unknown sequence \(rest[...end])")
            }
            rest = rest[rest.index(after: end)...]
          default: state.rows[state.row].append(character)
          }
        }
      }
    }
  }

  private static func board(_ counts: [Int64]) -> StatusBoard {
    var board = StatusBoard()
    let fleets = counts.enumerated().compactMap { index, count in
      FleetStatus([
        "metadata": ["name": .string("fleet-\(index)")], "status": ["currentReplicas": .int(count)],
      ])
    }
    board.update(fleets: fleets, budgets: [])
    return board
  }

  @Test("What is said scrolls above; the block stays below and is replaced, whether it grows or shrinks")
  func block() {
    let screen = Screen()
    let output = StatusOutput(isTerminal: true, size: { (81, 24) }, write: screen.write)
    output.say("first")
    output.show(Self.board([1, 2]))
    output.say("second\nthird")
    for counts: [Int64] in [[3, 4, 5], [6]] {
      output.show(Self.board(counts))
      #expect(screen.rows == ["first", "second", "third"] + Self.board(counts).lines(width: 80, height: 23) + [""])
    }
    output.finish()
    output.say("ended")
    #expect(
      screen.rows == ["first", "second", "third"] + Self.board([6]).lines(width: 80, height: 23) + ["ended", ""])
  }

  @Test("Nothing is written while nothing changes")
  func unchanged() {
    let screen = Screen()
    let output = StatusOutput(isTerminal: true, size: { (81, 24) }, write: screen.write)
    let board = Self.board([1])
    output.show(board)
    let before = screen.written
    output.show(board)
    #expect(screen.written == before)
  }

  @Test("Where there is no terminal there is no block and no escape sequence")
  func plain() {
    let screen = Screen()
    let output = StatusOutput(isTerminal: false, size: { (80, 24) }, write: screen.write)
    output.show(Self.board([1]))
    output.say("a line")
    #expect(screen.written == "a line\n")
  }

  @Test("Log lines of the services stand above the block as well")
  func logs() {
    let screen = Screen()
    let output = StatusOutput(isTerminal: true, size: { (81, 24) }, write: screen.write)
    output.show(Self.board([1]))
    var logger = Logger(label: "test") { _ in StatusLogHandler(output: output) }
    logger[metadataKey: "pod"] = "a"
    logger.info("not shown")
    logger.warning("a probe failed", metadata: ["code": "503"])
    #expect(
      screen.rows == ["warning: a probe failed code=503 pod=a"] + Self.board([1]).lines(width: 80, height: 23) + [""])
  }
}
