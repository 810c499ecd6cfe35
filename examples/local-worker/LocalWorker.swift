import Foundation
import SwarmCoordination
import UnixSignals

/// Takes tasks from swarmscale's queue and answers them with Claude: as many at once as the worker has slots, within the budget
/// that the fleet shares. It needs no sidecar. examples/local/fleet-swift.yaml runs a fleet of it.
@main struct LocalWorker {
  static func main() async throws {
    let queue = ProcessInfo.processInfo.environment["QUEUE"] ?? "reviewers"
    try await Swarm.join { swarm in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          // What was begun is finished; what was handed out and not begun goes back to the queue.
          for await _ in await UnixSignalsSequence(trapping: .sigterm) { return try await swarm.agents.drain() }
        }
        try await swarm.tasks(queue).work { task in
          let payload = try JSONDecoder().decode(Payload.self, from: Data(task.payload))
          let answer = try await swarm.claude.messages(JSONEncoder().encode(Question(payload)))
          let tokens = try JSONDecoder().decode(Answer.self, from: Data(answer.body)).usage.output_tokens
          print("done", task.id, tokens)
          return Array(#"{"outputTokens":\#(tokens)}"#.utf8)
        }
        group.cancelAll()
      }
    }
    print("ended in good order")
  }
}

/// What a replayed load asks for.
struct Payload: Decodable, Sendable {
  var inputTokens: Int?
  var outputTokens: Int?
}

private struct Question: Encodable {
  struct Message: Encodable {
    var role = "user"
    var content: String
  }

  var model = "claude-sonnet-4-5"
  var max_tokens: Int
  var messages: [Message]

  init(_ payload: Payload) {
    max_tokens = max(payload.outputTokens ?? 0, 16)
    // About as many tokens as the task says, of four letters each.
    let words = "Review this change, please. "
    let count = min(max(payload.inputTokens ?? 0, 8), 50_000) * 4 / words.count + 1
    messages = [Message(content: String(repeating: words, count: count))]
  }
}

private struct Answer: Decodable {
  struct Usage: Decodable {
    var output_tokens: Int
  }

  var usage: Usage
}
