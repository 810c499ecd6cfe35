/// What an acknowledgement of an engine survives. A mode is named only by an engine that keeps it; the later ones include the
/// earlier.
package enum Durability: Int, Hashable, Sendable, CaseIterable, Comparable {
  /// Nothing: what is kept is gone with the process.
  case memory
  /// The end of the process, by `kill -9` too: it was handed to the operating system. A crash of the machine may cost the last
  /// acknowledgements, never the consistency of what is left.
  case process
  /// A crash of the machine or a loss of power: it was written to the disk (fsync) before it was acknowledged.
  case node
  /// The loss of a machine with its disk: a majority of several servers has it.
  case quorum

  /// The mode of a name; nil for a name that isn't one.
  package init?(name: String) {
    guard let mode = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = mode
  }

  /// The name as flags and documents have it.
  package var name: String {
    switch self {
    case .memory: "memory"
    case .process: "process"
    case .node: "node"
    case .quorum: "quorum"
    }
  }

  package static func < (lhs: Durability, rhs: Durability) -> Bool { lhs.rawValue < rhs.rawValue }
}
