import JSON
import TaskRecovery

/// Steps and checkpoints: a task whose worker dies, drains or is cancelled is resumed by another one from where it was.
///
///     try await swarm.tasks("reviews").work { task in
///       var review = try await task.restore(as: Review.self) ?? Review(task.payload)
///       while let file = review.nextFile {
///         let comments = try await task.step("review \(file)") { call in
///           try await swarm.claude.messages(review.request(for: file), headers: ["idempotency-key": call.idempotencyKey]).body
///         }
///         review.add(comments, to: file)
///         try await task.checkpoint(review)
///         try swarm.agents.checkpoint()
///       }
///       return try review.result()
///     }
extension SwarmTask {
  /// A call that a step makes.
  public struct Call: Sendable {
    /// Names the call, the same for each attempt and whoever works on the task: give it to whatever must not do the thing twice.
    public let idempotencyKey: String
    /// Whether an earlier worker may have made the call before it was lost.
    public let isRepeat: Bool
  }

  /// Takes a step: gives the answer that was recorded when the task came by here before, else makes the call and records its answer. A worker that
  /// dies repeats the one call that was under way at most, under the same idempotency key.
  ///
  /// Steps come one after another, in the same order each time the task is worked on.
  ///
  /// - Parameters:
  ///   - name: what the step does, such as "review main.swift".
  ///   - input: what it depends on besides, if a task that is resumed must not take its answer for other input.
  ///   - call: gives the answer: any bytes, 16 MiB at most.
  /// - Throws: what `call` throws, and the next attempt of the step has the same key; `TaskRecoveryError`; `CancellationError`.
  public func step(
    _ name: String, input: [UInt8] = [], _ call: @Sendable (Call) async throws -> [UInt8]
  ) async throws -> [UInt8] {
    // Quoted: no name and input look like others.
    let request = Array(JSONSlice.quoted(name).utf8) + input
    return try await recovering { progress in
      try await progress.step(name, request: request) {
        try await call(Call(idempotencyKey: $0.idempotencyKey, isRepeat: $0.isRepeat))
      }
    }
  }

  /// The same with an answer of a type, which is recorded as JSON.
  public func step<Answer: Codable & Sendable>(
    _ name: String, input: [UInt8] = [], as type: Answer.Type = Answer.self,
    _ call: @Sendable (Call) async throws -> Answer
  ) async throws -> Answer {
    let bytes = try await step(name, input: input) { made in try JSONValue(encoding: try await call(made)).text }
    return try JSONValue(parsing: bytes).decoded(as: type)
  }

  /// Saves the task's state: whoever works on the task next gets it from `restore`. Written, read back and compared before it counts; most of the time
  /// only what has changed is stored.
  ///
  /// - Parameter state: any bytes, 64 MiB at most.
  /// - Returns: the checkpoint's number, from 1.
  /// - Throws: `TaskRecoveryError`: what was saved before stays; `CancellationError`.
  @discardableResult
  public func checkpoint(_ state: [UInt8]) async throws -> Int {
    try await recovering { Int(clamping: try await $0.checkpoint(state)) }
  }

  /// The same with a state of a type, as JSON.
  @discardableResult
  public func checkpoint(_ state: some Encodable) async throws -> Int {
    try await checkpoint(try JSONValue(encoding: state).text)
  }

  /// The state that was saved last and can be read; nil when there is none. A task that has one asks for it before its first step.
  ///
  /// - Throws: `TaskRecoveryError`; `CancellationError`.
  public func restore() async throws -> [UInt8]? {
    try await recovering { try await $0.restore()?.state }
  }

  /// The same as a type, from JSON.
  public func restore<State: Decodable>(as type: State.Type) async throws -> State? {
    try await restore().map { try JSONValue(parsing: $0).decoded(as: type) }
  }

  /// Goes back behind the newest checkpoint to the last good one before it, for good: the steps since are made again, under new keys.
  ///
  /// - Returns: the state of then.
  /// - Throws: `TaskRecoveryError` when there is none before it; `CancellationError`.
  public func rollBack() async throws -> [UInt8] {
    try await recovering { try await $0.rollBack().state }
  }

  private func recovering<Result: Sendable>(
    _ body: (TaskProgress) async throws -> Result
  ) async throws -> Result {
    guard let progress else { throw TaskRecoveryError(.notKept) }
    do {
      return try await body(progress)
    } catch let error as RecoveryError {
      throw TaskRecoveryError(error)
    }
  }
}

/// A task can't go on from where it was, or can't be saved.
public struct TaskRecoveryError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Whether somebody else has the task, or may have: what this worker does with it is refused.
  public let isSuperseded: Bool
  /// What is wrong, and what to do.
  public let description: String

  init(_ error: RecoveryError) {
    if case .superseded = error { isSuperseded = true } else { isSuperseded = false }
    description = "\(error)"
  }
}
