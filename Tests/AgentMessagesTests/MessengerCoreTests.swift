import MessageFrames
import TaskQueue
import Testing

@testable import AgentMessages

/// Several state machines over a network that loses, repeats, delays and reorders, in virtual time.
private struct Network {
  enum Event {
    case arrive(MessagePlace, FramedMessage)
    case write(String, MessagePlace, Outbox.Channel)
    case written(String, MessagePlace, Outbox.Channel, [OutgoingMessage], String?)
    case answer(String, MessengerCore.ServingKey, [UInt8], String, registration: UInt64)
  }

  var cores: [String: MessengerCore] = [:]
  var random: SplitMix
  var now = Duration.zero
  var events: [(time: Duration, order: Int, event: Event)] = []
  var order = 0
  var loss = 0
  var finished: [String: [UInt64: Result<[UInt8], MessagingError>]] = [:]
  var served: [String: Int] = [:]
  var running: [String: Int] = [:]
  var mostRunning = 0

  init(seed: UInt64, nodes: [String], configuration: MessengerConfiguration) {
    random = SplitMix(seed: seed)
    for (index, node) in nodes.enumerated() {
      cores[node] = MessengerCore(node: node, incarnation: UInt64(index), configuration: configuration)
    }
  }

  mutating func schedule(_ event: Event, after delay: Duration) {
    order += 1
    events.append((now + delay, order, event))
  }

  mutating func take(_ effects: [MessengerCore.Effect], _ node: String) {
    for effect in effects {
      switch effect {
      case .write(let place, let channel):
        schedule(.write(node, place, channel), after: .microseconds(random.below(300)))
      case .finish(let call, let result):
        #expect(finished[node]?[call] == nil, "a call ended twice")
        finished[node, default: [:]][call] = result
      case .serve(let key, let call, let registration):
        served[call.agent, default: 0] += 1
        running[call.agent, default: 0] += 1
        mostRunning = max(mostRunning, running[call.agent] ?? 0)
        schedule(
          .answer(node, key, call.payload + [0xff], call.agent, registration: registration),
          after: .microseconds(random.below(8_000)))
      case .wakeStream, .admit, .stopServing, .wakeProducer: break
      }
    }
  }

  private mutating func write(_ node: String, _ place: MessagePlace, _ channel: Outbox.Channel) {
    guard let (messages, effects) = cores[node]?.takeBatch(place, channel, now: now) else { return }
    take(effects, node)
    let isUnreachable = random.below(100) < loss / 4
    schedule(
      .written(node, place, channel, messages, isUnreachable ? "gone" : nil), after: .microseconds(random.below(900)))
    guard !isUnreachable else { return }
    for message in messages where random.below(100) >= loss {
      for _ in 0..<(random.below(100) < loss ? 2 : 1) {
        schedule(.arrive(place, message.message), after: .microseconds(random.below(5_000)))
      }
    }
  }

  mutating func step() -> Bool {
    let timer = cores.values.compactMap(\.nextDeadline).min()
    let next = events.indices.min { (events[$0].time, events[$0].order) < (events[$1].time, events[$1].order) }
    guard let next, events[next].time <= timer ?? events[next].time else {
      guard let timer else { return false }
      now = max(now, timer)
      for node in cores.keys.sorted() {
        let effects = cores[node]?.timePassed(now: now) ?? []
        take(effects, node)
      }
      return true
    }
    let (time, _, event) = events.remove(at: next)
    now = max(now, time)
    switch event {
    case .arrive(.node(let node), let message):
      let effects = cores[node]?.receive(message, now: now) ?? []
      take(effects, node)
    case .arrive: break
    case .write(let node, let place, let channel): write(node, place, channel)
    case .written(let node, let place, let channel, let messages, let failure):
      let effects = cores[node]?.written(place, channel, messages, failure: failure, now: now) ?? []
      take(effects, node)
    case .answer(let node, let key, let payload, let agent, let registration):
      running[agent, default: 0] -= 1
      var effects = cores[node]?.finishServing(key, .success(payload), admission: nil, now: now) ?? []
      effects += cores[node]?.servingEnded(agent, registration: registration, now: now) ?? []
      take(effects, node)
    }
    return true
  }
}

@Suite struct MessengerCoreTests {
  @Test("Answers are never crossed, whatever is lost, repeated and overtaken; every call ends once", arguments: 0..<60)
  func neverCrossed(seed: UInt64) {
    let configuration = MessengerConfiguration(
      frameMessages: 4, waitingMessages: 6, linger: seed.isMultiple(of: 2) ? .zero : .milliseconds(2))
    var network = Network(seed: seed, nodes: ["a", "b", "c", "server"], configuration: configuration)
    network.loss = Int(seed % 4) * 8
    for agent in ["echo", "slow"] {
      _ = network.cores["server"]?.register(agent, limit: 3, mailbox: 10, now: .zero)
    }
    var asked: [String: [UInt64: [UInt8]]] = [:]
    var (cancelled, steps) = (0, 0)
    for round in 0..<300 {
      let node = ["a", "b", "c"][network.random.below(3)]
      guard let number = network.cores[node]?.makeNumber() else { continue }
      // What is asked names who asks and which call it is.
      let payload = Array("\(node)/\(number)".utf8)
      asked[node, default: [:]][number] = payload
      let target = AgentAddress(
        node: "server", agent: ["echo", "slow", "nobody"][min(2, network.random.below(20) / 9)])
      let lane = MessageLane.allCases[network.random.below(4)]
      let effects =
        network.cores[node]?.call(
          number, target, payload, kind: .message, lane: lane, timeout: .milliseconds(8 + network.random.below(60)),
          window: 0, now: network.now) ?? []
      network.take(effects, node)
      if network.random.below(12) == 0 {
        let effects = network.cores[node]?.cancel(number, now: network.now) ?? []
        if network.finished[node]?[number] == nil { cancelled += 1; asked[node]?[number] = nil }
        network.take(effects, node)
      }
      for _ in 0..<(round % 5) * 3 { _ = network.step() }
    }
    while network.step(), steps < 200_000 { steps += 1 }
    #expect(network.events.isEmpty)
    var answered = 0
    for (node, calls) in asked {
      for (number, payload) in calls {
        guard let result = network.finished[node]?[number] else {
          Issue.record("call \(number) of \(node) never ended")
          continue
        }
        if case .success(let answer) = result {
          answered += 1
          #expect(answer == payload + [0xff], "an answer was crossed")
        }
      }
      #expect(network.finished[node]?.count == calls.count)
    }
    #expect(answered > 20 && cancelled > 0 && network.mostRunning <= 3)
    for (node, core) in network.cores {
      let open = core.openCounts
      #expect(open.calls == 0 && open.serving == 0, "\(node) keeps what has ended")
    }
  }

  @Test("An answer with another run's number, or from another process, reaches nobody")
  func stray() {
    var core = MessengerCore(node: "a", incarnation: 7, configuration: MessengerConfiguration())
    let number = core.makeNumber()
    _ = core.call(
      number, AgentAddress(node: "server", agent: "x"), [1], kind: .message, lane: .normal, timeout: .seconds(1),
      window: 0, now: .zero)
    func reply(_ incarnation: UInt64, _ from: String) -> FramedMessage {
      FramedMessage(
        kind: .message, lane: .normal,
        payload: Envelope(from: from, .reply(CallID(incarnation: incarnation, number: number), payload: [2])).encoded)
    }
    #expect(core.receive(reply(6, "server"), now: .zero).isEmpty, "the run before")
    #expect(core.receive(reply(7, "other"), now: .zero).isEmpty, "another process")
    #expect(core.statistics.strayAnswers == 2)
    let effects = core.receive(reply(7, "server"), now: .zero)
    guard case .finish(number, .success([2])) = effects.first else { return #expect(Bool(false), "the answer") }
    #expect(core.receive(reply(7, "server"), now: .zero).isEmpty, "twice")
  }

  @Test("A hundred thousand calls leave no call, timer or place behind")
  func collected() {
    var core = MessengerCore(node: "a", incarnation: 1, configuration: MessengerConfiguration(linger: .zero))
    for index in 0..<100_000 {
      let number = core.makeNumber()
      let node = "pod-\(index % 5_000)"
      for effect in core.call(
        number, AgentAddress(node: node, agent: "x"), [1], kind: .message, lane: .normal, timeout: .seconds(30),
        window: 0, now: .milliseconds(index))
      {
        guard case .write(let place, let channel) = effect else { continue }
        let (messages, _) = core.takeBatch(place, channel, now: .milliseconds(index))
        _ = core.written(place, channel, messages, failure: nil, now: .milliseconds(index))
      }
      let answer = Envelope(from: node, .reply(CallID(incarnation: 1, number: number), payload: []))
      _ = core.receive(
        FramedMessage(kind: .message, lane: .normal, payload: answer.encoded), now: .milliseconds(index))
    }
    let open = core.openCounts
    #expect(open.calls == 0 && open.timers <= 65 && open.outboxes <= 1_025)
    #expect(core.statistics.calls == 100_000 && core.statistics.timeouts == 0)
  }

  private func request(_ number: UInt64, lane: MessageLane = .normal) -> FramedMessage {
    let id = CallID(incarnation: 1, number: number)
    let content = Envelope.Content.request(id, agent: "one", milliseconds: 60_000, credit: 0, payload: [])
    return FramedMessage(kind: .message, lane: lane, payload: Envelope(from: "client", content).encoded)
  }

  private func cancel(_ number: UInt64) -> FramedMessage {
    let content = Envelope.Content.cancel(CallID(incarnation: 1, number: number))
    return FramedMessage(kind: .control, lane: .normal, payload: Envelope(from: "client", content).encoded)
  }

  private func served(_ effects: [MessengerCore.Effect]) -> [(number: UInt64, registration: UInt64)] {
    effects.compactMap {
      if case .serve(let key, _, let registration) = $0 { (key.id.number, registration) } else { nil }
    }
  }

  @Test("Calls that were given up leave their places to others, and are never begun, also when they come again")
  func givenUp() {
    var core = MessengerCore(node: "server", incarnation: 9, configuration: MessengerConfiguration())
    _ = core.register("one", limit: 1, mailbox: 2, now: .zero)
    let first = served(core.receive(request(1), now: .zero))
    #expect(first.map(\.number) == [1])
    for number in UInt64(2)...3 {
      #expect(core.receive(request(number), now: .zero).isEmpty)
      _ = core.receive(cancel(number), now: .zero)
    }
    // The second comes again: it stands in the line twice.
    _ = core.receive(request(2), now: .zero)
    _ = core.receive(request(4), now: .zero)
    #expect(core.statistics.refusedCalls == 0)
    var begun: [UInt64] = []
    var ended = first
    while let (number, registration) = ended.popLast() {
      let key = MessengerCore.ServingKey(node: "client", id: CallID(incarnation: 1, number: number))
      _ = core.finishServing(key, .success([]), admission: nil, now: .zero)
      let next = served(core.servingEnded("one", registration: registration, now: .zero))
      begun += next.map(\.number)
      ended += next
    }
    #expect(begun == [2, 4] && core.openCounts.serving == 0)
  }

  @Test("An agent that is registered anew takes over what waits, and keeps its own count of what it answers")
  func registeredAnew() {
    var core = MessengerCore(node: "server", incarnation: 9, configuration: MessengerConfiguration())
    _ = core.register("one", limit: 1, mailbox: 2, now: .zero)
    let first = served(core.receive(request(1), now: .zero))
    _ = core.receive(request(2), now: .zero)
    let second = served(core.register("one", limit: 1, mailbox: 2, now: .zero))
    #expect(first.map(\.number) == [1] && second.map(\.number) == [2])
    // The end of what the earlier one answered frees no place of the later one.
    _ = core.servingEnded("one", registration: first[0].registration, now: .zero)
    #expect(served(core.receive(request(3), now: .zero)).isEmpty && core.load(of: "one").running == 1)
  }

  @Test("High, normal and bulk messages have the weights of tasks")
  func weights() {
    let tasks = LanePolicy().weights
    #expect(MessageLane.high.weight == UInt64(tasks.high) && MessageLane.normal.weight == UInt64(tasks.normal))
    #expect(MessageLane.bulk.weight == UInt64(tasks.bulk))
  }
}
