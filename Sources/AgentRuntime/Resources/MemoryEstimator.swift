/// How much memory an agent of each kind takes, learned from what the whole process takes while agents run. Integers only; pure.
///
/// The process's memory says nothing of one agent. What lies above the memory of an idle process is shared out among those that
/// run, in proportion to what is expected of them; each kind's expectation follows its share: quickly upwards, because too little expected ends
/// in the kernel's killer, slowly downwards. With one kind at work that is its average, with several their sum is right.
package struct MemoryEstimator: Sendable {
  /// More kinds than this share one expectation: names come from users.
  package static let kinds = 256
  /// What an agent is taken to need of which nothing is known: a conversation of 16 KB and its buffers (docs/messages.md), with room.
  package static let unknown = 1 << 20
  /// What nobody is expected to stay below: bookkeeping of a suspended agent.
  package static let least = 8 << 10

  private var expected: [String: Int] = [:]
  private var others = MemoryEstimator.unknown

  /// Knows nothing yet.
  package init() {}

  /// Bytes that an agent of a kind is expected to need.
  package func bytes(_ kind: String) -> Int { expected[kind] ?? (expected.count < Self.kinds ? Self.unknown : others) }

  /// How many kinds it tells apart.
  package var count: Int { expected.count }

  /// Takes note of how many bytes agents have taken together; `running` has how many of each kind there are.
  package mutating func observe(_ total: Int, running: [String: Int]) {
    let weights = running.filter { $0.value > 0 }.map { (kind: $0.key, count: $0.value, bytes: bytes($0.key)) }
    let whole = weights.reduce(0) { $0 + $1.count * $1.bytes }
    guard whole > 0 else { return }
    for weight in weights {
      // In parts of 1,024, so that nothing overflows: bytes are below 2^50.
      let share = max(Self.least, weight.bytes * (max(0, total) * 1_024 / whole) / 1_024)
      let next = share > weight.bytes ? (weight.bytes + share + 1) / 2 : weight.bytes - (weight.bytes - share) / 16
      if expected[weight.kind] != nil || expected.count < Self.kinds {
        expected[weight.kind] = next
      } else {
        others = max(next, Self.least)
      }
    }
  }
}
