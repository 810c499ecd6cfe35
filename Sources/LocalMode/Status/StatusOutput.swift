import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Standard output: lines that scroll and, on a terminal, a block below them that is drawn anew in place.
final class StatusOutput: Sendable {
  /// The process's one.
  static let standard = StatusOutput(isTerminal: terminalIsCapable, size: terminalSize) { text in
    print(text, terminator: "")
    fflush(nil)
  }

  /// Columns and rows.
  typealias Size = (width: Int, height: Int)

  private struct State {
    var drawn: [String] = []
  }

  /// Whether there is a block at all; otherwise changes are told by lines.
  let isTerminal: Bool
  private let size: @Sendable () -> Size
  private let write: @Sendable (String) -> Void
  private let state = Mutex(State())

  init(isTerminal: Bool, size: @escaping @Sendable () -> Size, write: @escaping @Sendable (String) -> Void) {
    self.isTerminal = isTerminal
    self.size = size
    self.write = write
  }

  /// Prints lines above the block.
  func say(_ text: String) {
    state.withLock { state in
      write(erasure(of: state.drawn) + text + "\n" + block(state.drawn))
    }
  }

  /// Draws the block anew; does nothing where there is none, or when nothing changed.
  func show(_ board: StatusBoard) {
    guard isTerminal else { return }
    let (width, height) = size()
    // The last column stays free, or some terminals wrap; so does the last row.
    let lines = board.lines(width: width - 1, height: max(height - 1, 1))
    state.withLock { state in
      guard lines != state.drawn else { return }
      write(erasure(of: state.drawn) + block(lines))
      state.drawn = lines
    }
  }

  /// Leaves the block where it stands; what follows is printed below.
  func finish() { state.withLock { $0.drawn = [] } }

  private func block(_ lines: [String]) -> String { lines.map { "\($0)\n" }.joined() }

  /// To the block's first line, and everything below cleared.
  private func erasure(of lines: [String]) -> String { lines.isEmpty ? "" : "\u{1B}[\(lines.count)A\r\u{1B}[J" }

  private static var terminalIsCapable: Bool {
    isatty(STDOUT_FILENO) == 1 && ![nil, "", "dumb"].contains(ProcessVariables.value(of: "TERM"))
  }

  private static func terminalSize() -> Size {
    var window = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &window) == 0, window.ws_col > 0, window.ws_row > 0 else {
      return (80, 24)
    }
    return (Int(window.ws_col), Int(window.ws_row))
  }
}

/// Prints a line that is seen at once, also through a pipe.
func say(_ text: String) { StatusOutput.standard.say(text) }
