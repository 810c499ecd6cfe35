@testable import ScalingDecision

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension DecisionState {
  /// The state as JSON, as it stands in an object's status.
  func encoded() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return Array(try encoder.encode(self))
  }

  /// The state as a controller finds it after a restart.
  func restarted() throws -> DecisionState {
    try JSONDecoder().decode(DecisionState.self, from: Data(encoded()))
  }
}
