package import AgentMessages
package import CoordinationEngine
package import Logging
import MessageFrames
import PayloadCompression

/// Messages between the agents of a fleet: questions with an answer, answers in parts, and topics.
///
///     try await messages.withAgent("reviewer", answering: { question in
///       try await review(question.payload)
///     }) {
///       let answer = try await messages.ask("planner", plan)
///     }
///
/// At most once: what is lost ends in a `MessageError` of whoever asked, who decides whether to ask again. What must not be lost
/// is a task. Messages are packed, and several share a write while there is load.
public final class SwarmMessages: Sendable {
  /// This worker's name in the fleet, which no other has.
  public let worker: String
  private let messenger: AgentMessenger
  private let directory: AgentDirectory
  private let clock: any MessengerClock
  private let logger: Logger
  private let state = Watched(State())

  private struct State {
    var isWanted = false
    var isReady = false
    /// Why the last attempt didn't go; whoever asks meanwhile is told.
    var trouble: MessageError?
    var isOver = false
    /// Attempts that have ended, well or not.
    var attempts = 0
  }

  /// How long to wait before the engine is tried again.
  private static let pause = Duration.seconds(1)

  /// Messages over an engine, once `run` runs. They cost nothing until they are used for the first time.
  package init(
    engine: any CoordinationEngine, worker: String, logger: Logger, clock: any MessengerClock = SystemMessengerClock()
  ) {
    self.worker = worker
    self.clock = clock
    self.logger = logger
    directory = AgentDirectory(node: worker, store: engine.state, clock: clock)
    messenger = AgentMessenger(
      node: worker, transport: EngineTransport(messages: engine.messages, directory: directory),
      compressor: PayloadCodec(), clock: clock)
  }

  /// What was sent and received so far.
  package var statistics: MessengerStatistics { messenger.statistics }

  // MARK: Asking

  /// Asks an agent, and waits for its answer. Of several agents of one name any one is asked.
  ///
  /// - Throws: `MessageError`; `CancellationError`, and the other agent's work is cancelled, too.
  public func ask(
    _ agent: AgentName, _ question: [UInt8], urgency: MessageUrgency = .normal, timeout: Duration = .seconds(30)
  ) async throws -> [UInt8] {
    try await translated {
      try await self.finding(agent) { address in
        try await self.messenger.request(question, to: address, lane: urgency.lane, timeout: timeout)
      }
    }
  }

  /// Asks an agent that answers in parts, which `body` reads. When `body` ends, so does the other agent's work.
  ///
  /// - Throws: `MessageError`; `CancellationError`; what `body` throws.
  public func withParts<Result: Sendable>(
    of agent: AgentName, _ question: [UInt8], urgency: MessageUrgency = .normal, timeout: Duration = .seconds(300),
    _ body: @Sendable (AnswerParts) async throws -> Result
  ) async throws -> Result {
    try await translated {
      let address = try await self.address(of: agent)
      return try await self.messenger.withStream(question, to: address, lane: urgency.lane, timeout: timeout) {
        try await body(AnswerParts(stream: $0))
      }
    }
  }

  /// The workers that have an agent of this name now, sorted; for up to five seconds also ones that have gone.
  ///
  /// - Throws: `MessageError`.
  public func workers(with agent: String) async throws -> [String] {
    try await translated {
      try await self.ready()
      return try await self.directory.processes(with: agent)
    }
  }

  private func finding(
    _ agent: AgentName, _ body: (AgentAddress) async throws -> [UInt8]
  ) async throws -> [UInt8] {
    let first = try await address(of: agent)
    do {
      return try await body(first)
    } catch MessagingError.unknownAgent where agent.worker == nil {
      // It has moved since it was looked up, and has done nothing: where it is now may answer.
      directory.forget(agent.name)
      let second = try await address(of: agent)
      guard second != first else { throw MessagingError.unknownAgent(agent.name) }
      return try await body(second)
    }
  }

  private func address(of agent: AgentName) async throws -> AgentAddress {
    try await ready()
    if let worker = agent.worker {
      guard try await directory.isPresent(worker) != false else {
        throw MessagingError.unreachable("no worker is called \(worker) now; ask for the agent by its name alone")
      }
      return AgentAddress(node: worker, agent: agent.name)
    }
    guard let worker = try await directory.processes(with: agent.name).randomElement() else {
      throw MessageError(
        .unknownAgent, "no worker has an agent \(agent.name) now; start one, or ask again once it has")
    }
    return AgentAddress(node: worker, agent: agent.name)
  }

  // MARK: Answering

  /// Lets an agent of this worker be asked while `body` runs, from when it begins: at most `limit` questions at a time, and
  /// `mailbox` more may wait, the urgent ones first. What `answering` throws is told to whoever asked.
  ///
  /// `answering` is cancelled when the answer isn't wanted any more.
  ///
  /// - Throws: `MessageError`; what `body` throws.
  public func withAgent<Result: Sendable>(
    _ name: String, limit: Int = 16, mailbox: Int = 256,
    answering: @escaping @Sendable (AgentQuestion) async throws -> [UInt8],
    inParts: (@Sendable (AgentQuestion, AnswerWriter) async throws -> Void)? = nil,
    _ body: @Sendable () async throws -> Result
  ) async throws -> Result {
    var stream: (@Sendable (IncomingCall, StreamWriter) async throws -> Void)?
    if let inParts {
      stream = { call, writer in try await inParts(AgentQuestion(call), AnswerWriter(writer: writer)) }
    }
    let service = AgentMessenger.Service(
      limit: limit, mailbox: mailbox, answer: { try await answering(AgentQuestion($0)) }, stream: stream)
    return try await translated {
      try await self.ready()
      self.messenger.register(name, service)
      defer { self.messenger.unregister(name) }
      try self.directory.add(name)
      defer { self.directory.remove(name) }
      // Who is in `body` may count on others finding it.
      try await self.directory.untilFound()
      return try await body()
    }
  }

  // MARK: Topics

  /// Sends a message to whoever listens to a topic now; returns when it is taken.
  ///
  /// - Throws: `MessageError`, `CancellationError`.
  public func publish(_ message: [UInt8], to topic: String, urgency: MessageUrgency = .normal) async throws {
    try await translated {
      try await self.ready()
      try await self.messenger.publish(message, topic: topic, lane: urgency.lane)
    }
  }

  /// Listens to a topic while `body` runs, from when it begins. Of more than `buffer` messages that wait the oldest of the least
  /// urgent are dropped, and counted in `missed`.
  ///
  /// - Throws: `MessageError`; what `body` throws.
  public func withTopic<Result: Sendable>(
    _ topic: String, buffer: Int = 256, _ body: @Sendable (TopicMessages) async throws -> Result
  ) async throws -> Result {
    try await translated {
      try await self.ready()
      return try await self.messenger.withSubscription(to: topic, buffer: buffer) {
        try await body(TopicMessages(subscription: $0))
      }
    }
  }

  // MARK: Running

  /// Carries messages from when they are first used until the task is cancelled; says goodbye to the fleet then. While the engine
  /// is away it goes on trying.
  package func run() async {
    try? await state.wait(until: \.isWanted)
    while !Task.isCancelled {
      do {
        try await carry()
      } catch is CancellationError {
        break
      } catch let error as AgentDirectory.NameTaken {
        logger.error("messages have ended", metadata: ["worker": "\(worker)", "error": "\(error)"])
        return become(ready: false, trouble: MessageError(.stopped, error.description), isOver: true)
      } catch {
        logger.warning("messages are interrupted", metadata: ["worker": "\(worker)", "error": "\(error)"])
        become(ready: false, trouble: MessageError(.unreachable, "\(error)"))
        try? await clock.sleep(until: clock.now + Self.pause)
      }
    }
    become(ready: false, trouble: MessageError(MessagingError.stopped), isOver: true)
  }

  /// Carries messages while `body` runs; says goodbye to the fleet after it.
  package nonisolated(nonsending) func run<Result>(while body: () async throws -> Result) async throws -> Result {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await self.run() }
      defer { group.cancelAll() }
      return try await body()
    }
  }

  private func carry() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.messenger.run() }
      group.addTask { try await self.directory.keep() }
      group.addTask {
        try await self.directory.untilFound()
        self.become(ready: true)
      }
      defer { group.cancelAll() }
      while try await group.next() != nil {}
    }
    try Task.checkCancellation()
  }

  /// Waits until this worker can send and be found, or until an attempt to has failed.
  private func ready() async throws {
    let attempts = state.change { state in
      state.isWanted = true
      return state.attempts
    }
    try await state.wait { $0.isReady || $0.isOver || $0.attempts > attempts }
    if let trouble = state.read({ $0.isReady ? nil : $0.trouble }) { throw trouble }
  }

  private func become(ready: Bool, trouble: MessageError? = nil, isOver: Bool = false) {
    state.change { state in
      state.isReady = ready
      state.trouble = trouble
      state.isOver = isOver
      state.attempts += 1
    }
  }
}
