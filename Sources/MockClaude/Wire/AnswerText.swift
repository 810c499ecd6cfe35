/// The words of answers: about four characters a token, the same for the same token number and seed.
enum AnswerText {
  private static let words = [
    "a", "we", "the", "and", "for", "this", "that", "test", "work", "file", "then", "with", "count", "which", "result",
    "so",
    "it", "now", "run", "code", "line", "value", "check", "is", "of", "to", "in", "as", "budget", "report", "by",
    "each",
  ]

  /// The text of tokens `first`..<`end`.
  static func tokens(from first: Int, to end: Int, seed: Int) -> String {
    var text = ""
    for token in first..<max(first, end) {
      text += words[Int(SeededGenerator.mix(UInt64(truncatingIfNeeded: token &+ seed &* 7919)) % UInt64(words.count))]
      text += " "
    }
    return text
  }

  /// Part `index` of `count` equal parts of a text.
  static func part(_ text: String, _ index: Int, of count: Int) -> String {
    let scalars = Array(text.unicodeScalars)
    var part = String.UnicodeScalarView()
    part.append(contentsOf: scalars[scalars.count * index / count..<scalars.count * (index + 1) / count])
    return String(part)
  }
}

/// A block of an answer and the tokens it takes.
struct AnswerBlock {
  enum Kind {
    case thinking
    case text
    case tool(MessageRequest.ToolCall)
  }

  var kind: Kind
  /// Number of its first token, and of the first after it.
  var (first, end): (Int, Int)

  /// The blocks of an answer as it would be without a fault.
  static func blocks(of generation: Generation) -> [AnswerBlock] {
    let total = generation.plannedOutput
    guard total > 0 else { return [] }
    let thinking = min(generation.thinkingTokens, total)
    let tool = generation.stopReason == "tool_use" ? generation.request.toolCall : nil
    let toolTokens = tool.map { min(max(1, $0.input.utf8.count / 4), total - thinking) } ?? 0
    var blocks: [AnswerBlock] = []
    if thinking > 0 { blocks.append(AnswerBlock(kind: .thinking, first: 0, end: thinking)) }
    if total - toolTokens > thinking {
      blocks.append(AnswerBlock(kind: .text, first: thinking, end: total - toolTokens))
    }
    if let tool { blocks.append(AnswerBlock(kind: .tool(tool), first: total - toolTokens, end: total)) }
    return blocks
  }

  /// A signature as opaque as the real one.
  static func signature(_ generation: Generation) -> String {
    var random = SeededGenerator(seed: UInt64(generation.number))
    return random.base62(88) + "=="
  }

  /// Identifier of the tool call.
  static func toolID(_ generation: Generation) -> String {
    "toolu_" + generation.messageID.dropFirst(4)
  }
}
