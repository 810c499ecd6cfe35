package import MessageFrames
import Synchronization

/// Messages between agents: calls with one answer, streams, and messages to all who listen to a topic.
///
/// One for a process, over one transport. Messages travel in frames, several to a write while there is load; critical ones
/// go ahead of the rest. At most once: what is lost ends in an error of the caller (`timedOut`, `unreachable`, `gap`), who
/// decides whether to ask again. Tasks, which must not be lost, belong in the queue.
package final class AgentMessenger: Sendable {
  /// What answers the calls to an agent.
  package struct Service: Sendable {
    /// Calls that are answered at a time.
    package var limit: Int
    /// Calls that may wait; more are refused at once.
    package var mailbox: Int
    /// Answers a call; what it throws is told to the caller.
    package var answer: @Sendable (IncomingCall) async throws -> [UInt8]
    /// Answers a call by a stream; nil: it has none.
    package var stream: (@Sendable (IncomingCall, StreamWriter) async throws -> Void)?

    /// Puts a service together.
    package init(
      limit: Int = 16, mailbox: Int = 256, answer: @escaping @Sendable (IncomingCall) async throws -> [UInt8],
      stream: (@Sendable (IncomingCall, StreamWriter) async throws -> Void)? = nil
    ) {
      self.limit = limit
      self.mailbox = mailbox
      self.answer = answer
      self.stream = stream
    }
  }

  private enum Work: Sendable {
    case write(MessagePlace, Outbox.Channel)
    case serve(MessengerCore.ServingKey, IncomingCall, registration: UInt64, AnsweringTask)
  }

  private struct State {
    var core: MessengerCore
    var isRunning = false
    /// Why nothing arrives any more.
    var failure: (any Error)?
    var services: [String: Service] = [:]
    var answers: [UInt64: CheckedContinuation<[UInt8], any Error>] = [:]
    var admissions: [UInt64: CheckedContinuation<Void, any Error>] = [:]
    var readers: [UInt64: CheckedContinuation<Void, Never>] = [:]
    var producers: [MessengerCore.ServingKey: CheckedContinuation<Void, Never>] = [:]
    var answering: [MessengerCore.ServingKey: AnsweringTask] = [:]
    var work: [Work] = []
    /// What the timer waits for; nil: for nothing.
    var armed: Duration?
    var sentBytes = 0
    var malformedFrames = 0
    var inbox: FrameSubscription?
  }

  /// This process's name.
  package let node: String
  private let transport: any MessageTransport
  private let clock: any MessengerClock
  private let frames: FrameCodec
  private let configuration: MessengerConfiguration
  private let state: Mutex<State>
  private let workSignal = WakeSignal()
  private let timeSignal = WakeSignal()

  /// A messenger for the process `node`, which no other process is called. `incarnation`: a number of chance, so that answers
  /// to an earlier run of this process aren't taken for answers to this one.
  package init(
    node: String, transport: any MessageTransport, compressor: (any FrameCompressor)? = nil,
    configuration: MessengerConfiguration = MessengerConfiguration(),
    clock: any MessengerClock = SystemMessengerClock(),
    incarnation: UInt64 = UInt64.random(in: .min ... .max)
  ) {
    var configuration = configuration
    configuration.limits.storedBytes = min(configuration.limits.storedBytes, transport.frameBytes)
    // A batch that doesn't pack must fit, too: its index takes up to six bytes a message.
    configuration.frameBytes = min(
      configuration.frameBytes, max(1, configuration.limits.storedBytes - 6 * configuration.frameMessages - 64))
    self.node = node
    self.transport = transport
    self.clock = clock
    self.configuration = configuration
    frames = FrameCodec(limits: configuration.limits, compressor: compressor)
    state = Mutex(
      State(core: MessengerCore(node: node, incarnation: incarnation, configuration: configuration)))
  }

  /// What was done so far.
  package var statistics: MessengerStatistics {
    state.withLock { state in
      var statistics = state.core.statistics
      statistics.sentBytes = state.sentBytes
      statistics.malformed += state.malformedFrames
      statistics.droppedFrames = state.inbox?.dropped() ?? 0
      return statistics
    }
  }

  /// Whether `run` listens.
  package var isRunning: Bool { state.withLock { $0.isRunning } }

  /// Calls, answers, places and timers that are open: all zero when nobody waits for anything.
  package var openCounts: (calls: Int, serving: Int, outboxes: Int, timers: Int) {
    state.withLock { $0.core.openCounts }
  }

  /// Calls to an agent here that wait and that are being answered.
  package func load(of agent: String) -> (waiting: Int, running: Int) {
    state.withLock { $0.core.load(of: agent) }
  }

  // MARK: Agents here

  /// Lets an agent of this process be called.
  package func register(_ agent: String, _ service: Service) {
    act { state, now in
      state.services[agent] = service
      return state.core.register(agent, limit: service.limit, mailbox: service.mailbox, now: now)
    }
  }

  /// Ends that: calls that wait are refused, those that are being answered may finish.
  package func unregister(_ agent: String) {
    act { state, now in
      state.services[agent] = nil
      return state.core.unregister(agent, now: now)
    }
  }

  // MARK: Calls

  /// Asks an agent, and waits for its answer.
  ///
  /// Throws `MessagingError`, and `CancellationError`; the other agent is told when the answer isn't wanted any more.
  package func request(
    _ payload: [UInt8], to target: AgentAddress, kind: MessageClass = .message, lane: MessageLane = .normal,
    timeout: Duration = .seconds(30)
  ) async throws -> [UInt8] {
    try check(payload, kind, names: [target.node, target.agent])
    let number = state.withLock { $0.core.makeNumber() }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let isTaken = actIfRunning { state, now in
          state.answers[number] = continuation
          return state.core.call(
            number, target, payload, kind: kind, lane: lane, timeout: timeout, window: 0, now: now)
        }
        guard isTaken else { return continuation.resume(throwing: MessagingError.stopped) }
        // A cancellation before this point has found nothing to cancel.
        if Task.isCancelled { cancelCall(number) }
      }
    } onCancel: {
      cancelCall(number)
    }
  }

  /// Opens a stream: an agent's answer in parts, which `body` reads. When `body` ends, so does the stream.
  ///
  /// At most `streamWindow` items are under way: an agent that sends waits for a reader that is slow.
  package func withStream<Result>(
    _ payload: [UInt8], to target: AgentAddress, kind: MessageClass = .message, lane: MessageLane = .normal,
    timeout: Duration = .seconds(300), _ body: (MessageStream) async throws -> Result
  ) async throws -> Result {
    try check(payload, kind, names: [target.node, target.agent])
    let number = state.withLock { $0.core.makeNumber() }
    let isTaken = actIfRunning { state, now in
      return state.core.call(
        number, target, payload, kind: kind, lane: lane, timeout: timeout, window: configuration.streamWindow, now: now)
    }
    guard isTaken else { throw MessagingError.stopped }
    defer { cancelCall(number) }
    return try await body(MessageStream(messenger: self, number: number))
  }

  private func cancelCall(_ number: UInt64) {
    var waiter: CheckedContinuation<[UInt8], any Error>?
    act { state, now in
      waiter = state.answers.removeValue(forKey: number)
      return state.core.cancel(number, now: now)
    }
    waiter?.resume(throwing: CancellationError())
  }

  /// The next item of a stream; nil at its end.
  func nextItem(_ number: UInt64) async throws -> [UInt8]? {
    while true {
      try Task.checkCancellation()
      var step = MessengerCore.StreamStep.wait
      act { state, now in
        step = state.core.takeItem(number, now: now)
        if case .item(_, let effects) = step { return effects }
        return []
      }
      switch step {
      case .item(let item, _): return item
      case .ended: return nil
      case .failed(let error): throw error
      case .wait: await waitForItem(number)
      }
    }
  }

  private func waitForItem(_ number: UInt64) async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isReady = state.withLock { state in
          guard state.isRunning, !state.core.hasItem(number), !Task.isCancelled else { return true }
          state.readers[number] = continuation
          return false
        }
        if isReady { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.readers.removeValue(forKey: number) }?.resume()
    }
  }

  // MARK: Topics

  /// Sends a message to whoever listens to a topic; returns when it is taken, which may be before it is written.
  ///
  /// Throws `MessagingError`, and `CancellationError`: then it may or may not be sent.
  package func publish(
    _ payload: [UInt8], topic: String, kind: MessageClass = .message, lane: MessageLane = .normal
  ) async throws {
    try check(payload, kind, names: [topic])
    try await whenTaken(place: .topic(topic)) { state, number, now in
      state.core.publish(payload, topic: topic, kind: kind, lane: lane, admission: number, now: now)
    }
  }

  /// Listens to a topic while `body` runs, from when it begins. Of more than `buffer` messages that wait the oldest are
  /// dropped, and counted.
  package func withSubscription<Result>(
    to topic: String, buffer: Int = 256, _ body: (TopicSubscription) async throws -> Result
  ) async throws -> Result {
    let source = try await transport.listen(at: .topic(topic))
    defer { source.cancel() }
    let subscription = TopicSubscription(capacity: buffer)
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await self.pump(source, into: subscription) }
      defer { group.cancelAll() }
      return try await body(subscription)
    }
  }

  private func pump(_ source: FrameSubscription, into subscription: TopicSubscription) async {
    var dropped = 0
    do {
      while let frame = try await source.next() {
        let now = source.dropped()
        if now > dropped { subscription.noteDropped(now - dropped) }
        dropped = now
        for message in decode(frame) {
          guard let envelope = Envelope(message.payload), case .published(let payload) = envelope.content else {
            state.withLock { $0.malformedFrames += 1 }
            continue
          }
          subscription.add(
            ReceivedMessage(
              from: envelope.from, kind: message.kind, lane: message.lane, payload: payload, missed: 0))
        }
      }
      subscription.finish(nil)
    } catch {
      subscription.finish(error)
    }
  }

  // MARK: Running

  /// Carries messages until the task is cancelled: then it returns, and every call that is open ends with `stopped`.
  ///
  /// Throws when the transport fails. It may run again after that, as the same process: answers to earlier calls are strays then.
  package func run() async throws {
    let inbox = try await transport.listen(at: .node(node))
    state.withLock { state in
      state.isRunning = true
      state.failure = nil
      state.inbox = inbox
    }
    defer {
      inbox.cancel()
      stop()
    }
    await withDiscardingTaskGroup { group in
      group.addTask { await self.read(inbox) }
      group.addTask { await self.keepTime() }
      while !Task.isCancelled, !state.withLock({ $0.failure != nil }) {
        for work in takeWork() {
          group.addTask { await self.carryOut(work) }
        }
        await workSignal.wait()
      }
      group.cancelAll()
    }
    if !Task.isCancelled, let failure = state.withLock({ $0.failure }) { throw failure }
  }

  private func read(_ inbox: FrameSubscription) async {
    var failure: any Error = MessagingError.unreachable("the transport has ended")
    do {
      while let frame = try await inbox.next() { receive(frame) }
    } catch {
      failure = error
    }
    state.withLock { $0.failure = failure }
    workSignal.set()
  }

  private func takeWork() -> [Work] {
    state.withLock { state in
      let work = state.work
      state.work.removeAll(keepingCapacity: true)
      return work
    }
  }

  private func carryOut(_ work: Work) async {
    switch work {
    case .write(let place, let channel): await write(to: place, channel)
    case .serve(let key, let call, let registration, let task): await serve(key, call, registration, task)
    }
  }

  private func write(to place: MessagePlace, _ channel: Outbox.Channel) async {
    var messages: [OutgoingMessage] = []
    act { state, now in
      let batch = state.core.takeBatch(place, channel, now: now)
      messages = batch.messages
      return batch.effects
    }
    guard !messages.isEmpty else { return }
    var failure: String?
    do {
      let frame = try frames.encode(messages.map(\.message))
      try await transport.send(frame, to: place)
      state.withLock { $0.sentBytes += frame.count }
    } catch {
      failure = "\(error)"
    }
    act { state, now in state.core.written(place, channel, messages, failure: failure, now: now) }
  }

  private func receive(_ frame: [UInt8]) {
    let messages = decode(frame)
    guard !messages.isEmpty else { return }
    act { state, now in messages.flatMap { state.core.receive($0, now: now) } }
  }

  private func decode(_ frame: [UInt8]) -> [FramedMessage] {
    do {
      return try frames.decode(frame)
    } catch {
      // Its sender can't be told: who it is stands inside. Its calls time out.
      state.withLock { $0.malformedFrames += 1 }
      return []
    }
  }

  private func keepTime() async {
    while !Task.isCancelled {
      let next = state.withLock { state in
        state.armed = state.core.nextDeadline
        return state.armed
      }
      if let next, next > clock.now {
        await withTaskGroup(of: Void.self) { group in
          group.addTask { try? await self.clock.sleep(until: next) }
          group.addTask { await self.timeSignal.wait() }
          await group.next()
          group.cancelAll()
        }
      } else if next == nil {
        await timeSignal.wait()
      }
      act { state, now in state.core.timePassed(now: now) }
    }
  }

  private func stop() {
    let (answers, admissions, readers, producers) = state.withLock { state in
      defer {
        state.isRunning = false
        (state.answers, state.admissions, state.readers, state.producers) = ([:], [:], [:], [:])
        (state.answering, state.work) = ([:], [])
        state.core.stop()
      }
      return (state.answers, state.admissions, state.readers, state.producers)
    }
    for waiter in answers.values { waiter.resume(throwing: MessagingError.stopped) }
    for waiter in admissions.values { waiter.resume(throwing: MessagingError.stopped) }
    for waiter in readers.values { waiter.resume() }
    for waiter in producers.values { waiter.resume() }
  }

  // MARK: Answering

  private func serve(
    _ key: MessengerCore.ServingKey, _ call: IncomingCall, _ registration: UInt64, _ task: AnsweringTask
  ) async {
    let answer = await task.run { await self.answer(key, call) }
    // Waits until the answer is taken: an agent that answers faster than is written answers no further calls meanwhile.
    try? await whenTaken(place: .node(key.node)) { state, number, now in
      state.core.finishServing(key, answer, admission: number, now: now)
    }
    act { state, now in
      state.answering[key] = nil
      return state.core.servingEnded(call.agent, registration: registration, now: now)
    }
  }

  private func answer(
    _ key: MessengerCore.ServingKey, _ call: IncomingCall
  ) async -> Result<[UInt8], MessagingError> {
    guard let service = state.withLock({ $0.services[call.agent] }) else {
      return .failure(.failed("the agent \(call.agent) has gone"))
    }
    do {
      guard call.isStream else {
        let answer = try await service.answer(call)
        try check(answer, call.kind, names: [])
        return .success(answer)
      }
      guard let stream = service.stream else { return .failure(.failed("the agent \(call.agent) has no streams")) }
      try await stream(call, StreamWriter(messenger: self, key: key, kind: call.kind))
      return .success([])
    } catch is CancellationError {
      return .failure(.cancelled)
    } catch let error as MessagingError {
      return .failure(error)
    } catch {
      return .failure(.failed("\(error)"))
    }
  }

  /// Sends an item of a stream once its reader has room.
  func sendItem(_ payload: [UInt8], _ key: MessengerCore.ServingKey, kind: MessageClass) async throws {
    try check(payload, kind, names: [])
    while true {
      try Task.checkCancellation()
      var step = MessengerCore.ProduceStep.nobodyWaits
      try await whenTaken(place: .node(key.node)) { state, number, now in
        step = state.core.produce(key, payload, admission: number, now: now)
        if case .sent(let effects) = step { return effects }
        return [.admit(number)]
      }
      switch step {
      case .sent: return
      case .nobodyWaits: throw MessagingError.cancelled
      case .waitForCredit: await waitForCredit(key)
      }
    }
  }

  private func waitForCredit(_ key: MessengerCore.ServingKey) async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isReady = state.withLock { state in
          guard state.isRunning, !state.core.mayProduce(key), !Task.isCancelled else { return true }
          state.producers[key] = continuation
          return false
        }
        if isReady { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.producers.removeValue(forKey: key) }?.resume()
    }
  }

  // MARK: Effects

  private func check(_ payload: [UInt8], _ kind: MessageClass, names: [String]) throws {
    do {
      try frames.check(kind, bytes: payload.count + Envelope.overhead)
    } catch {
      throw MessagingError.tooLarge(error.description)
    }
    for name in names + [node] where name.isEmpty || name.utf8.count > Envelope.nameBytes {
      throw MessagingError.tooLarge("a name has 1 to \(Envelope.nameBytes) bytes, not \(name.utf8.count)")
    }
  }

  /// Waits until a message is taken: there is room for it, or it isn't wanted.
  private func whenTaken(
    place: MessagePlace, _ body: (inout State, _ number: UInt64, _ now: Duration) -> [MessengerCore.Effect]
  ) async throws {
    let number = state.withLock { $0.core.makeNumber() }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let isTaken = actIfRunning { state, now in
          state.admissions[number] = continuation
          return body(&state, number, now)
        }
        guard isTaken else { return continuation.resume(throwing: MessagingError.stopped) }
        if Task.isCancelled { cancelAdmission(number, place) }
      }
    } onCancel: {
      cancelAdmission(number, place)
    }
  }

  private func cancelAdmission(_ number: UInt64, _ place: MessagePlace) {
    let waiter = state.withLock { state in
      let waiter = state.admissions.removeValue(forKey: number)
      if waiter != nil { state.core.forgetMessage(number, to: place) }
      return waiter
    }
    waiter?.resume(throwing: CancellationError())
  }

  private func act(_ body: (inout State, _ now: Duration) -> [MessengerCore.Effect]) {
    _ = perform(onlyWhileRunning: false, body)
  }

  /// Does nothing and gives false where `run` isn't running.
  private func actIfRunning(_ body: (inout State, _ now: Duration) -> [MessengerCore.Effect]) -> Bool {
    perform(onlyWhileRunning: true, body)
  }

  /// Asks the state machine within the lock, and does what it says after it.
  private func perform(
    onlyWhileRunning: Bool, _ body: (inout State, _ now: Duration) -> [MessengerCore.Effect]
  ) -> Bool {
    let now = clock.now
    var resumptions: [() -> Void] = []
    var (hasWork, isEarlier) = (false, false)
    let isDone = state.withLock { state in
      guard state.isRunning || !onlyWhileRunning else { return false }
      for effect in body(&state, now) { Self.apply(effect, &state, &resumptions) }
      hasWork = !state.work.isEmpty
      if let next = state.core.nextDeadline, next < state.armed ?? .seconds(Int64.max) {
        state.armed = next
        isEarlier = true
      }
      return true
    }
    for resume in resumptions { resume() }
    if hasWork { workSignal.set() }
    if isEarlier { timeSignal.set() }
    return isDone
  }

  private static func apply(
    _ effect: MessengerCore.Effect, _ state: inout State, _ resumptions: inout [() -> Void]
  ) {
    switch effect {
    case .write(let place, let channel): state.work.append(.write(place, channel))
    case .finish(let call, let answer):
      guard let waiter = state.answers.removeValue(forKey: call) else { return }
      resumptions.append { waiter.resume(with: answer.mapError { $0 as any Error }) }
    case .wakeStream(let call):
      guard let waiter = state.readers.removeValue(forKey: call) else { return }
      resumptions.append { waiter.resume() }
    case .admit(let number):
      guard let waiter = state.admissions.removeValue(forKey: number) else { return }
      resumptions.append { waiter.resume() }
    case .serve(let key, let call, let registration):
      let task = AnsweringTask()
      state.answering[key] = task
      state.work.append(.serve(key, call, registration: registration, task))
    case .stopServing(let key):
      guard let task = state.answering.removeValue(forKey: key) else { return }
      resumptions.append { task.cancel() }
    case .wakeProducer(let key):
      guard let waiter = state.producers.removeValue(forKey: key) else { return }
      resumptions.append { waiter.resume() }
    }
  }
}
