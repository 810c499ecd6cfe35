import MessageFrames
import PriorityQueue

/// Calls, streams and what is to be written, as a state machine: no clock, no tasks, no transport.
///
/// An answer reaches a call only if it names the run of this process and the number of a call that is open, and comes from
/// the process that was asked: two calls can't get each other's answers, whoever else asks the same agent at the same time.
/// What comes late, twice or from elsewhere is counted and dropped.
struct MessengerCore: Sendable {
  /// A call that was made here.
  private struct Call: Sendable {
    var target: AgentAddress
    var deadline: Duration
    var timeout: Duration
    var lane: MessageLane
    var stream: IncomingStream?
  }

  /// What has come of a stream that was opened here.
  private struct IncomingStream: Sendable {
    var items: [[UInt8]] = []
    var expected: UInt64 = 0
    /// Items taken since the last credit was given.
    var taken: UInt32 = 0
    /// All items that will come have come; or why none will.
    var ending: Result<Void, MessagingError>?
  }

  /// A call that was made elsewhere, to an agent here.
  struct ServingKey: Hashable, Sendable {
    var node: String
    var id: CallID
  }

  private struct Serving: Sendable {
    var agent: String
    /// The registration of the agent that answers; nil while the call waits.
    var registration: UInt64?
    var isRunning: Bool { registration != nil }
    var isStream: Bool
    var payload: [UInt8]
    var kind: MessageClass
    var lane: MessageLane
    var deadline: Duration
    var credit: UInt64
    var sent: UInt64 = 0
  }

  private struct Agent: Sendable {
    /// Tells an agent from one that had its name before.
    var registration: UInt64
    var limit: Int
    var mailbox: Int
    var running = 0
    var waiting = LaneQueue<ServingKey>()
  }

  /// What is to be done.
  enum Effect: Sendable {
    /// Write what `takeBatch` gives to a place as one frame, then call `written`.
    case write(MessagePlace, Outbox.Channel)
    /// A call has ended.
    case finish(call: UInt64, Result<[UInt8], MessagingError>)
    /// A stream has something new.
    case wakeStream(call: UInt64)
    /// A message was taken.
    case admit(UInt64)
    /// Have the agent answer; its registration is to be named to `servingEnded`.
    case serve(ServingKey, IncomingCall, registration: UInt64)
    /// Stop answering: nobody waits any more.
    case stopServing(ServingKey)
    /// A stream that is sent from here may go on, or is to end.
    case wakeProducer(ServingKey)
  }

  private struct Timer: Comparable, Sendable {
    enum Kind: Hashable, Sendable {
      case call(UInt64)
      case serving(ServingKey)
    }
    var time: Duration
    var kind: Kind

    static func < (left: Timer, right: Timer) -> Bool { left.time < right.time }
    static func == (left: Timer, right: Timer) -> Bool { left.time == right.time && left.kind == right.kind }
  }

  let node: String
  let incarnation: UInt64
  let configuration: MessengerConfiguration
  private(set) var statistics = MessengerStatistics()
  private var nextNumber: UInt64 = 0
  private var calls: [UInt64: Call] = [:]
  private var agents: [String: Agent] = [:]
  private var serving: [ServingKey: Serving] = [:]
  private var outboxes: [MessagePlace: Outbox] = [:]
  /// When the places whose messages linger are to be looked at: few, whatever the number of places.
  private var dues: [MessagePlace: Duration] = [:]
  private var timers = BinaryHeap<Timer>()

  init(node: String, incarnation: UInt64, configuration: MessengerConfiguration) {
    self.node = node
    self.incarnation = incarnation
    self.configuration = configuration
  }

  /// When `timePassed` has something to do.
  var nextDeadline: Duration? {
    let linger = dues.values.min()
    guard let timer = timers.first?.time else { return linger }
    return linger.map { min($0, timer) } ?? timer
  }

  /// What is open or kept: all zero when nobody waits for anything.
  var openCounts: (calls: Int, serving: Int, outboxes: Int, timers: Int) {
    (calls.count, serving.count, outboxes.count, timers.count)
  }

  /// Calls that agents here have waiting and running.
  func load(of agent: String) -> (waiting: Int, running: Int) {
    (agents[agent]?.waiting.count ?? 0, agents[agent]?.running ?? 0)
  }

  // MARK: Calls from here

  /// A new number, for a call or for who waits for a message to be taken.
  mutating func makeNumber() -> UInt64 {
    nextNumber += 1
    return nextNumber
  }

  /// Makes a call; `window`: items of a stream that may be under way, 0 for one answer.
  mutating func call(
    _ number: UInt64, _ target: AgentAddress, _ payload: [UInt8], kind: MessageClass, lane: MessageLane,
    timeout: Duration, window: UInt32, now: Duration
  ) -> [Effect] {
    let deadline = now + timeout
    calls[number] = Call(
      target: target, deadline: deadline, timeout: timeout, lane: lane, stream: window > 0 ? IncomingStream() : nil)
    timers.push(Timer(time: deadline, kind: .call(number)))
    statistics.calls += 1
    let (seconds, attoseconds) = timeout.components
    let milliseconds = UInt32(clamping: min(seconds, Int64(UInt32.max)) * 1_000 + attoseconds / 1_000_000_000_000_000)
    return send(
      .request(
        CallID(incarnation: incarnation, number: number), agent: target.agent, milliseconds: milliseconds,
        credit: window, payload: payload), to: .node(target.node), kind: kind, lane: lane, call: number, now: now)
  }

  /// Gives a call up: its answer isn't wanted any more.
  mutating func cancel(_ number: UInt64, now: Duration) -> [Effect] {
    guard let call = calls.removeValue(forKey: number) else { return [] }
    tidyTimers()
    outboxes[.node(call.target.node)]?.forget(number)
    return tellCancelled(number, call, now: now)
  }

  /// What a stream has for its reader.
  enum StreamStep: Sendable {
    case item([UInt8], [Effect])
    case ended
    case failed(MessagingError)
    case wait
  }

  /// Takes the next item of a stream.
  mutating func takeItem(_ number: UInt64, now: Duration) -> StreamStep {
    guard var call = calls[number], var stream = call.stream else { return .failed(.stopped) }
    guard stream.items.isEmpty else {
      let item = stream.items.removeFirst()
      stream.taken += 1
      var effects: [Effect] = []
      // Half of the window at a time: credit is on its way while the other half is read.
      if stream.taken * 2 >= configuration.streamWindow, stream.ending == nil {
        let id = CallID(incarnation: incarnation, number: number)
        effects = control(.credit(id, items: stream.taken), to: call.target.node, now: now)
        stream.taken = 0
      }
      call.stream = stream
      calls[number] = call
      return .item(item, effects)
    }
    switch stream.ending {
    case .none: return .wait
    case .success:
      forget(number)
      return .ended
    case .failure(let error):
      forget(number)
      return .failed(error)
    }
  }

  /// Whether a stream has something for its reader: an item, its end, or that there is none of this number.
  func hasItem(_ number: UInt64) -> Bool {
    guard let stream = calls[number]?.stream else { return true }
    return !stream.items.isEmpty || stream.ending != nil
  }

  /// Forgets everything that is open.
  mutating func stop() {
    (calls, serving, outboxes, dues, timers) = ([:], [:], [:], [:], BinaryHeap())
    for name in agents.keys {
      agents[name]?.running = 0
      agents[name]?.waiting = LaneQueue()
    }
  }

  private mutating func forget(_ number: UInt64) {
    calls[number] = nil
    tidyTimers()
  }

  /// Lets go of a message that its sender doesn't wait for any more, if it wasn't written yet.
  mutating func forgetMessage(_ number: UInt64, to place: MessagePlace) { outboxes[place]?.forget(number) }

  // MARK: Publishing

  /// Sends a message to whoever listens to a topic.
  mutating func publish(
    _ payload: [UInt8], topic: String, kind: MessageClass, lane: MessageLane, admission: UInt64, now: Duration
  ) -> [Effect] {
    statistics.published += 1
    return send(
      .published(payload: payload), to: .topic(topic), kind: kind, lane: lane, admission: admission, now: now)
  }

  // MARK: Agents here

  /// Lets an agent be called; `limit` calls at a time, `mailbox` more may wait.
  mutating func register(_ agent: String, limit: Int, mailbox: Int, now: Duration) -> [Effect] {
    // What waits for one that had the name before waits for this one: its callers are still there.
    let waiting = agents[agent]?.waiting ?? LaneQueue()
    agents[agent] = Agent(
      registration: makeNumber(), limit: max(1, limit), mailbox: max(0, mailbox), waiting: waiting)
    return startNext(agent, now: now)
  }

  /// Ends it: what waits is refused, what runs may finish.
  mutating func unregister(_ agent: String, now: Duration) -> [Effect] {
    guard var state = agents.removeValue(forKey: agent) else { return [] }
    var effects: [Effect] = []
    while let (key, _) = state.waiting.popFirst() {
      guard serving[key]?.isRunning == false else { continue }
      serving[key] = nil
      effects += refuse(key, .unknownAgent, agent, now: now)
    }
    return effects
  }

  /// The agent's answer to a call, or why there is none.
  mutating func finishServing(
    _ key: ServingKey, _ answer: Result<[UInt8], MessagingError>, admission: UInt64?, now: Duration
  ) -> [Effect] {
    guard let ended = serving.removeValue(forKey: key) else { return admission.map { [.admit($0)] } ?? [] }
    tidyTimers()
    var effects: [Effect] = []
    switch answer {
    case .success(let payload):
      let content: Envelope.Content =
        ended.isStream ? .end(key.id, items: ended.sent) : .reply(key.id, payload: payload)
      effects = send(
        content, to: .node(key.node), kind: ended.kind, lane: ended.lane, admission: admission, now: now)
    case .failure(let error):
      let (code, text): (Envelope.FailureCode, String) =
        switch error {
        case .failed(let words): (.failed, words)
        case .cancelled: (.cancelled, "")
        default: (.failed, error.description)
        }
      effects = send(
        .failure(key.id, code: code, text: text), to: .node(key.node), kind: .control, lane: ended.lane,
        admission: admission, now: now)
    }
    return effects
  }

  /// Whether an item could be sent now, or it turns out that nobody waits for one.
  func mayProduce(_ key: ServingKey) -> Bool { serving[key].map { $0.credit > 0 } ?? true }

  /// What becomes of an item that is to be sent.
  enum ProduceStep: Sendable {
    case sent([Effect])
    case waitForCredit
    case nobodyWaits
  }

  /// Sends an item of a stream.
  mutating func produce(_ key: ServingKey, _ payload: [UInt8], admission: UInt64, now: Duration) -> ProduceStep {
    guard var state = serving[key], state.isStream else { return .nobodyWaits }
    guard state.credit > 0 else { return .waitForCredit }
    state.credit -= 1
    let sequence = state.sent
    state.sent += 1
    serving[key] = state
    return .sent(
      send(
        .item(key.id, sequence: sequence, payload: payload), to: .node(key.node), kind: state.kind, lane: state.lane,
        admission: admission, now: now))
  }

  // MARK: What arrives

  /// Takes a message in.
  mutating func receive(_ message: FramedMessage, now: Duration) -> [Effect] {
    guard let envelope = Envelope(message.payload) else {
      statistics.malformed += 1
      return []
    }
    switch envelope.content {
    case .request(let id, let agent, let milliseconds, let credit, let payload):
      let key = ServingKey(node: envelope.from, id: id)
      let call = Serving(
        agent: agent, isStream: credit > 0, payload: payload, kind: message.kind,
        lane: message.lane, deadline: now + .milliseconds(Int64(milliseconds)), credit: UInt64(credit))
      return accept(key, call, now: now)
    case .cancel(let id): return stopServing(ServingKey(node: envelope.from, id: id), now: now)
    case .credit(let id, let items):
      let key = ServingKey(node: envelope.from, id: id)
      guard serving[key] != nil else { return [] }
      serving[key]?.credit += UInt64(items)
      return [.wakeProducer(key)]
    case .reply(let id, let payload): return answer(id, from: envelope.from, .success(payload))
    case .failure(let id, let code, let text): return answer(id, from: envelope.from, .failure(error(code, text)))
    case .item(let id, let sequence, let payload): return item(id, from: envelope.from, sequence, payload, now: now)
    case .end(let id, let items): return end(id, from: envelope.from, items)
    case .published:
      // Topics have places of their own.
      statistics.malformed += 1
      return []
    }
  }

  /// The open call that an answer is for.
  private mutating func openCall(_ id: CallID, from node: String) -> Call? {
    guard id.incarnation == incarnation, let call = calls[id.number], call.target.node == node else {
      statistics.strayAnswers += 1
      return nil
    }
    return call
  }

  private mutating func answer(
    _ id: CallID, from node: String, _ answer: Result<[UInt8], MessagingError>
  ) -> [Effect] {
    guard var call = openCall(id, from: node) else { return [] }
    guard var stream = call.stream else {
      forget(id.number)
      return [.finish(call: id.number, answer)]
    }
    guard stream.ending == nil else { return [] }
    stream.ending = answer.map { _ in () }
    call.stream = stream
    calls[id.number] = call
    return [.wakeStream(call: id.number)]
  }

  private mutating func item(
    _ id: CallID, from node: String, _ sequence: UInt64, _ payload: [UInt8], now: Duration
  ) -> [Effect] {
    guard var call = openCall(id, from: node), var stream = call.stream, stream.ending == nil else { return [] }
    var effects: [Effect] = [.wakeStream(call: id.number)]
    // A sender that ignores its credit would fill this process's memory.
    if sequence != stream.expected || stream.items.count >= Int(configuration.streamWindow) {
      stream.ending = .failure(.gap(expected: stream.expected, actual: sequence))
      effects += tellCancelled(id.number, call, now: now)
    } else {
      stream.items.append(payload)
      stream.expected += 1
    }
    call.stream = stream
    calls[id.number] = call
    return effects
  }

  private mutating func end(_ id: CallID, from node: String, _ items: UInt64) -> [Effect] {
    guard var call = openCall(id, from: node), var stream = call.stream, stream.ending == nil else { return [] }
    stream.ending =
      items == stream.expected ? .success(()) : .failure(.gap(expected: stream.expected, actual: items))
    call.stream = stream
    calls[id.number] = call
    return [.wakeStream(call: id.number)]
  }

  private func error(_ code: Envelope.FailureCode, _ text: String) -> MessagingError {
    switch code {
    case .failed: .failed(text)
    case .unknownAgent: .unknownAgent(text)
    case .overloaded: .overloaded(text)
    case .cancelled: .cancelled
    }
  }

  // MARK: Serving

  private mutating func accept(_ key: ServingKey, _ call: Serving, now: Duration) -> [Effect] {
    // A transport that delivers twice doesn't have the work done twice at a time.
    guard serving[key] == nil else { return [] }
    guard var agent = agents[call.agent] else { return refuse(key, .unknownAgent, call.agent, now: now) }
    if agent.running >= agent.limit, agent.waiting.count >= agent.mailbox {
      // Calls that were given up meanwhile are no reason to refuse this one.
      agent.waiting.removeAll { serving[$0].map(\.isRunning) ?? true }
    }
    guard agent.running < agent.limit || agent.waiting.count < agent.mailbox else {
      agents[call.agent] = agent
      statistics.refusedCalls += 1
      return refuse(key, .overloaded, call.agent, now: now)
    }
    serving[key] = call
    timers.push(Timer(time: call.deadline, kind: .serving(key)))
    agent.waiting.append(key, lane: call.lane)
    agents[call.agent] = agent
    return startNext(call.agent, now: now)
  }

  private mutating func startNext(_ name: String, now: Duration) -> [Effect] {
    guard var agent = agents[name] else { return [] }
    var effects: [Effect] = []
    while agent.running < agent.limit, let (key, _) = agent.waiting.popFirst() {
      // Given up meanwhile, or come again after that: then it stands in the line twice.
      guard var call = serving[key], !call.isRunning else { continue }
      call.registration = agent.registration
      agent.running += 1
      effects.append(
        .serve(
          key,
          IncomingCall(
            from: key.node, agent: name, kind: call.kind, lane: call.lane, deadline: call.deadline,
            isStream: call.isStream, payload: call.payload), registration: agent.registration))
      call.payload = []
      serving[key] = call
    }
    agents[name] = agent
    return effects
  }

  /// The task that answered has ended: its place is free.
  mutating func servingEnded(_ name: String, registration: UInt64, now: Duration) -> [Effect] {
    // An agent that was registered anew meanwhile has its own count.
    if let agent = agents[name], agent.registration == registration, agent.running > 0 { agents[name]?.running -= 1 }
    return startNext(name, now: now)
  }

  private mutating func stopServing(_ key: ServingKey, now: Duration) -> [Effect] {
    guard let call = serving.removeValue(forKey: key) else { return [] }
    tidyTimers()
    return call.isRunning ? [.stopServing(key), .wakeProducer(key)] : []
  }

  private mutating func refuse(
    _ key: ServingKey, _ code: Envelope.FailureCode, _ text: String, now: Duration
  ) -> [Effect] {
    // Who asks faster than it reads the refusals gets no more of them, and times out.
    guard (outboxes[.node(key.node)]?.blockedCount ?? 0) < configuration.refusals else { return [] }
    return control(.failure(key.id, code: code, text: text), to: key.node, now: now)
  }

  // MARK: Writing

  /// The messages of a write that is about to be made: what has come until now goes along.
  mutating func takeBatch(
    _ place: MessagePlace, _ channel: Outbox.Channel, now: Duration
  ) -> (messages: [OutgoingMessage], effects: [Effect]) {
    guard let (messages, change) = outboxes[place]?.takeBatch(channel, now: now) else { return ([], []) }
    statistics.writes += 1
    statistics.sentMessages += messages.count
    return (messages, apply(change, place))
  }

  /// Notes that a write has ended. `failure`: it wasn't delivered, and why.
  mutating func written(
    _ place: MessagePlace, _ channel: Outbox.Channel, _ messages: [OutgoingMessage], failure: String?, now: Duration
  ) -> [Effect] {
    var effects: [Effect] = []
    if let failure {
      statistics.undelivered += messages.count
      for number in messages.compactMap(\.call) {
        guard var call = calls[number] else { continue }
        if call.stream == nil {
          forget(number)
          effects.append(.finish(call: number, .failure(.unreachable(failure))))
        } else {
          call.stream?.ending = .failure(.unreachable(failure))
          calls[number] = call
          effects.append(.wakeStream(call: number))
        }
      }
    }
    guard let change = outboxes[place]?.written(channel, now: now) else { return effects }
    return effects + apply(change, place)
  }

  /// Does what is due.
  mutating func timePassed(now: Duration) -> [Effect] {
    var effects: [Effect] = []
    // In an order that doesn't depend on the dictionary's.
    let due = dues.filter { $0.value <= now }
      .sorted { ($0.value, $0.key.description) < ($1.value, $1.key.description) }
    for (place, _) in due {
      dues[place] = nil
      guard let change = outboxes[place]?.look(now: now) else { continue }
      effects += apply(change, place)
    }
    while let timer = timers.first, timer.time <= now {
      timers.pop()
      switch timer.kind {
      case .call(let number): effects += timeOut(number, now: now)
      case .serving(let key):
        guard serving[key]?.deadline == timer.time else { continue }
        effects += stopServing(key, now: now)
      }
    }
    return effects
  }

  private mutating func timeOut(_ number: UInt64, now: Duration) -> [Effect] {
    guard var call = calls[number], call.deadline <= now else { return [] }
    statistics.timeouts += 1
    outboxes[.node(call.target.node)]?.forget(number)
    let error = MessagingError.timedOut(after: call.timeout)
    let tell = tellCancelled(number, call, now: now)
    guard call.stream != nil else {
      forget(number)
      return tell + [.finish(call: number, .failure(error))]
    }
    if call.stream?.ending == nil { call.stream?.ending = .failure(error) }
    calls[number] = call
    return tell + [.wakeStream(call: number)]
  }

  /// In the call's own lane, so that it doesn't overtake the call.
  private mutating func tellCancelled(_ number: UInt64, _ call: Call, now: Duration) -> [Effect] {
    let id = CallID(incarnation: incarnation, number: number)
    return send(.cancel(id), to: .node(call.target.node), kind: .control, lane: call.lane, now: now)
  }

  private mutating func control(_ content: Envelope.Content, to node: String, now: Duration) -> [Effect] {
    send(content, to: .node(node), kind: .control, lane: .critical, now: now)
  }

  private mutating func send(
    _ content: Envelope.Content, to place: MessagePlace, kind: MessageClass, lane: MessageLane, call: UInt64? = nil,
    admission: UInt64? = nil, now: Duration
  ) -> [Effect] {
    let message = OutgoingMessage(
      message: FramedMessage(kind: kind, lane: lane, payload: Envelope(from: node, content).encoded), call: call,
      admission: admission)
    if outboxes[place] == nil {
      if outboxes.count >= configuration.idlePlaces { outboxes = outboxes.filter { !$0.value.isIdle } }
      outboxes[place] = Outbox(configuration.batching(of: OutgoingMessage.self))
    }
    guard let change = outboxes[place]?.add(message, now: now) else { return [] }
    return apply(change, place)
  }

  private mutating func apply(_ change: Outbox.Change, _ place: MessagePlace) -> [Effect] {
    dues[place] = outboxes[place]?.nextDue
    return change.admitted.map { .admit($0) } + change.writes.map { .write(place, $0) }
  }

  // MARK: Timers

  /// Calls end long before their time: their timers go once they are more than those of open calls.
  private mutating func tidyTimers() {
    guard timers.count > 2 * (calls.count + serving.count) + 64 else { return }
    timers.keep { timer in
      switch timer.kind {
      case .call(let number): calls[number] != nil
      case .serving(let key): serving[key] != nil
      }
    }
  }
}
