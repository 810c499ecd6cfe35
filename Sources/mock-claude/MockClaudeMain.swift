import ArgumentParser
import MockClaudeCommand

/// MockClaude by itself.
@main
enum MockClaudeMain {
  static func main() async {
    await MockClaudeCommand.main()
  }
}
