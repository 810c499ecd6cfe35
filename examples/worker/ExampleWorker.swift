import Foundation
import SwarmCoordination

/// Answers the questions of its command line with Claude: as many at once as the worker has slots, within the budget that
/// all workers of the fleet share. On SIGTERM it finishes those that it has begun, and leaves the others.
@main struct ExampleWorker {
  static func main() async throws {
    let questions = Queue(CommandLine.arguments.dropFirst())
    try await answer(questions, SwarmConfiguration()) { print($0) }
  }

  package static func answer(
    _ questions: Queue, _ configuration: SwarmConfiguration, say: @escaping @Sendable (String) -> Void
  ) async throws {
    try await Swarm.join(configuration) { swarm in
      try await swarm.agents.work(taking: { await questions.next() }) { question in
        let body = try JSONEncoder().encode(Question(messages: [.init(content: question)]))
        let answer = try await swarm.claude.messages(body, priority: .batch)
        say(try JSONDecoder().decode(Answer.self, from: Data(answer.body)).content.compactMap(\.text).joined())
      }
    }
    while let question = await questions.next() { say("left for another worker: \(question)") }
  }
}

/// Where tasks come from; a real worker has its message queue here.
package actor Queue {
  private var rest: ArraySlice<String>
  package init(_ tasks: ArraySlice<String>) { rest = tasks }
  func next() -> String? { rest.popFirst() }
}

private struct Question: Encodable {
  struct Message: Encodable {
    var role = "user"
    var content: String
  }

  var model = "claude-sonnet-4-5"
  var max_tokens = 1_024
  var messages: [Message]
}

private struct Answer: Decodable {
  struct Block: Decodable {
    var text: String?
  }

  var content: [Block]
}
