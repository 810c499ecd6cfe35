package import KubernetesCore
package import ScalingAPI
package import ScalingDecision
import Synchronization

/// What the controller keeps of one autoscaler between passes.
package struct AutoscalerMemory: Sendable {
  /// The identity of the object that it belongs to; another one of the same name starts anew.
  package var uid: String
  /// The compiled spec and the generation and annotations that it was compiled from.
  package var compiled: (generation: Int64, annotations: [String: String], result: Result<CompiledAutoscaler, Trouble>)?
  /// What decisions remember.
  package var state: DecisionState
  /// What was last told in log and events, so that a repetition isn't.
  package var told: Told?
  /// Whether it was told that pods lack the sidecar.
  package var hasToldUnembedded = false
  /// The status that was last written or read, which the next patch is computed against.
  package var status: SwarmAutoscaler.Status?
  /// Why the status couldn't be written last, so that it is told once; nil: it was.
  package var statusFailure: String?
  /// When the history was last written.
  package var lastHistoryWrite: MonotonicTime?
  /// How many deletion costs were changed lately.
  package var costUpdates = CostUpdates()
  /// What became of drains.
  package var drains = DrainWatch()
  /// The binding step that the metrics show; nil when they may show any.
  package var shownStep: BindingStep?

  /// What was last told.
  package struct Told: Hashable, Sendable {
    /// The trouble or the reasons, as one comparable text.
    package var text: String
    /// The count that was decided.
    package var desired: Int?
  }

  /// Starts from what the object's status says.
  package init(restoring autoscaler: SwarmAutoscaler) {
    uid = autoscaler.metadata.uid
    status = autoscaler.status
    state = (autoscaler.status?.history?.state?.value).flatMap(DecisionState.init(json:)) ?? DecisionState()
  }
}

extension DecisionState {
  /// Restores a state from the JSON in an object's status; nil when it can't be read.
  package init?(json: JSONValue) {
    do {
      self = try KubernetesJSON.decode(DecisionState.self, from: json)
    } catch {
      return nil
    }
  }
}

/// The memories of all autoscalers. A key is worked on by one worker at a time, so a memory is taken and put back.
package final class AutoscalerMemories: Sendable {
  /// Each in a box of its own: a dictionary keeps a quarter to a half of its places free, and a memory is large.
  private final class Box: Sendable {
    let memory: AutoscalerMemory
    init(_ memory: AutoscalerMemory) { self.memory = memory }
  }

  private let memories = Mutex<[ObjectKey: Box]>([:])

  /// Makes an empty store.
  package init() {}

  /// The memory of `autoscaler`; restored from its status when there is none, or it belonged to another object.
  package func take(_ autoscaler: SwarmAutoscaler) -> AutoscalerMemory {
    let key = autoscaler.metadata.key
    guard var found = memories.withLock({ $0[key] })?.memory, found.uid == autoscaler.metadata.uid else {
      return AutoscalerMemory(restoring: autoscaler)
    }
    // What was written has come back by the watch: equal, but another copy. One of them is enough.
    if let status = autoscaler.status, status == found.status { found.status = status }
    return found
  }

  /// Keeps a memory.
  package func put(_ memory: AutoscalerMemory, for key: ObjectKey) {
    memories.withLock { $0[key] = Box(memory) }
  }

  /// Forgets an object that is gone.
  package func forget(_ key: ObjectKey) {
    memories.withLock { $0[key] = nil }
  }

  /// Forgets everything: a new leader must start from what the objects say.
  package func forgetAll() {
    memories.withLock { $0 = [:] }
  }
}
