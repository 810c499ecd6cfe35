import CoordinationProtocol
import Coordinator
import RateBudget
import Testing

@Suite struct CoordinatorStateTests {
  private let a = StreamID(1)
  private let b = StreamID(2)

  private func state(_ budget: BudgetConfiguration, isSuccessor: Bool = false) -> CoordinatorState {
    CoordinatorState(
      configuration: coordinatorConfiguration(budget), name: "c", isSuccessor: isSuccessor, seed: 1, wall: wallStart,
      now: .zero)
  }

  private func join(_ state: inout CoordinatorState, _ identity: WorkerIdentity, _ stream: StreamID) {
    _ = state.join(WorkerHello(identity: identity), stream: stream, now: .zero)
  }

  @Test("P01: of five parallel calls of 175 tokens on a budget of 100, one is admitted per refill")
  func oversized() {
    var state = state(plain(input: 100))
    join(&state, worker("a"), a)
    let asked = (1...5).map { request(UInt64($0), of: worker("a"), input: 175) }
    #expect(state.handle(asking(asked), from: a, now: .zero).isEmpty)
    #expect(grants(state.advance(now: .zero)) == [1])
    // 175 of 100 are taken: 105 s until the bucket is full again.
    #expect(grants(state.advance(now: at(104.9))).isEmpty)
    #expect(grants(state.advance(now: at(105.1))) == [2])
    #expect(grants(state.advance(now: at(105.2))).isEmpty)
  }

  @Test("A hello is answered by a welcome with lease and configuration")
  func welcome() {
    var state = state(plain(requests: 60))
    let effects = state.join(WorkerHello(identity: worker("a")), stream: a, now: .zero)
    guard case .welcome(a, let welcome) = effects.first else {
      Issue.record("no welcome: \(effects)")
      return
    }
    #expect(welcome.lease == .seconds(15))
    #expect(welcome.groups.map(\.models) == [["claude-sonnet-*"]])
  }

  @Test("A worker that comes back by another stream takes the place of its old one")
  func replaced() {
    var state = state(plain(requests: 60))
    join(&state, worker("a"), a)
    let effects = state.join(WorkerHello(identity: worker("a")), stream: b, now: at(1))
    #expect(effects.first == .close(a, .replaced))
    // The end of the old stream comes late: it says nothing of the new one.
    state.disconnect(a, now: at(2))
    _ = state.handle(asking([request(1, of: worker("a"))]), from: b, now: at(2))
    #expect(grants(state.advance(now: at(2)), on: b) == [1])
    #expect(state.handle(asking([request(2, of: worker("a"))]), from: a, now: at(2)).isEmpty)
    #expect(grants(state.advance(now: at(2))).isEmpty, "the old stream has no voice")
  }

  @Test("A cancelled request leaves no charge, whether it waited or its grant was on its way")
  func cancelled() {
    var state = state(plain(requests: 2))
    join(&state, worker("a"), a)
    _ = state.handle(asking((1...3).map { request(UInt64($0), of: worker("a")) }), from: a, now: .zero)
    #expect(grants(state.advance(now: .zero)) == [1, 2])
    var frame = WorkerFrame()
    frame.cancellations = [NumberNote(group: sonnet, number: 3), NumberNote(group: sonnet, number: 2)]
    _ = state.handle(frame, from: a, now: .zero)
    let report = state.report(now: .zero).groups[0].report
    #expect(report.waiting == 0 && report.outstanding == 1)
    #expect(report.dimensions[0].admitted == 1)
    _ = state.handle(asking([request(4, of: worker("a"))]), from: a, now: .zero)
    #expect(grants(state.advance(now: .zero)) == [4], "the place of the second is free again")
  }

  @Test("A settlement that comes twice, or after another, moves the balance once")
  func duplicateSettlement() {
    var state = state(plain(input: 1_000))
    join(&state, worker("a"), a)
    _ = state.handle(asking([request(1, of: worker("a"), input: 400)]), from: a, now: .zero)
    _ = state.advance(now: .zero)
    var frame = WorkerFrame()
    frame.settlements = [
      SettlementNote(group: sonnet, number: 1, kind: .final, usage: Usage(input: 100, output: 5)),
      SettlementNote(group: sonnet, number: 1, kind: .final, usage: Usage(input: 900, output: 5)),
      SettlementNote(group: sonnet, number: 1, kind: .released),
    ]
    _ = state.handle(frame, from: a, now: .zero)
    _ = state.handle(frame, from: a, now: .zero)
    #expect(state.report(now: .zero).groups[0].report.dimensions[0].admitted == 100)
  }

  @Test("A request that is sent again under its number is granted once")
  func sentAgain() {
    var state = state(plain(requests: 60))
    join(&state, worker("a"), a)
    _ = state.handle(asking([request(1, of: worker("a"))]), from: a, now: .zero)
    #expect(grants(state.advance(now: .zero)) == [1])
    #expect(grants(state.handle(asking([request(1, of: worker("a"))]), from: a, now: .zero)) == [1])
    #expect(state.report(now: .zero).groups[0].report.dimensions[0].admitted == 1)
  }

  @Test("A deadline that passes is told, and leaves no charge")
  func expired() {
    var state = state(plain(requests: 1))
    join(&state, worker("a"), a)
    let asked = [request(1, of: worker("a")), request(2, of: worker("a"), deadline: at(3))]
    _ = state.handle(asking(asked), from: a, now: .zero)
    _ = state.advance(now: .zero)
    #expect(state.nextDeadline(now: at(1)) <= at(3))
    #expect(refusals(state.advance(now: at(3))) == [RefusalNote(number: 2, refusal: nil)])
  }

  @Test("Upstream's 429 is answered: the request waits again, at its head, and is granted after retry-after")
  func rejected() {
    var state = state(plain(requests: 600))
    join(&state, worker("a"), a)
    _ = state.handle(asking([request(1, of: worker("a"))]), from: a, now: .zero)
    _ = state.advance(now: .zero)
    var frame = WorkerFrame()
    frame.rejections = [RejectionNote(group: sonnet, number: 1, verdict: .rateLimited(retryAfter: .seconds(2)))]
    let effects = state.handle(frame, from: a, now: at(1))
    guard case .tell(a, .answer(let answer)) = effects.first, case .requeued(let wait) = answer.decision else {
      Issue.record("no answer: \(effects)")
      return
    }
    #expect(wait >= .seconds(2) && wait <= .seconds(4))
    #expect(grants(state.advance(now: at(2.9))).isEmpty)
    #expect(grants(state.advance(now: at(5.1))) == [1])
  }

  @Test("A lost worker's share is kept free; a goodbye frees it at once")
  func lostAndGone() {
    // 60,000 tokens a minute, two workers: 500 a second each.
    func charged(after end: (inout CoordinatorState) -> Void) -> Int {
      var state = state(plain(input: 60_000, burst: .seconds(1)))
      join(&state, worker("a"), a)
      join(&state, worker("b"), b)
      for (stream, name) in [(a, "a"), (b, "b")] {
        var frame = WorkerFrame()
        frame.groups = [sonnet]
        _ = state.handle(frame, from: stream, now: .zero)
        _ = name
      }
      _ = state.advance(now: at(1))
      end(&state)
      _ = state.handle(
        asking((1...100).map { request(UInt64($0), of: worker("a"), input: 500) }), from: a, now: at(1))
      var count = 0
      for tenth in 10...60 { count += grants(state.advance(now: at(Double(tenth) / 10))).count }
      return count
    }
    let both = charged { _ in }
    let lost = charged { $0.disconnect(StreamID(2), now: at(1)) }
    let gone = charged {
      var frame = WorkerFrame()
      frame.isGoodbye = true
      let effects = $0.handle(frame, from: StreamID(2), now: at(1))
      #expect(effects == [.close(StreamID(2), .goodbye)])
    }
    #expect(both == gone && (11...13).contains(both), "\(both)")
    #expect((6...8).contains(lost), "half of it is kept for the lost one: \(lost)")
  }

  @Test("Shares are told to all, and a sign of life with them")
  func ticks() {
    var state = state(plain(requests: 600))
    for index in 1...10 {
      let stream = StreamID(UInt64(index))
      join(&state, worker("p\(index)"), stream)
      var frame = WorkerFrame()
      frame.groups = [sonnet]
      _ = state.handle(frame, from: stream, now: .zero)
    }
    let effects = state.advance(now: at(1))
    let shares = effects.compactMap {
      if case .tell(_, .share(sonnet, let share)) = $0 { share.rates.requests } else { nil }
    }
    let leases = effects.count { if case .tell(_, .lease) = $0 { true } else { false } }
    #expect(shares.count == 10 && shares.reduce(0, +) == 600_000_000)
    #expect(leases == 10)
    #expect(state.nextDeadline(now: at(1)) <= at(6))
  }

  @Test("Many are told one after another within a second, those that lose something first; together never too much")
  func round() {
    var state = state(plain(requests: 60_000))
    var told: [String: Int64] = [:]
    var clients: [StreamID: String] = [:]
    for index in 1...1_000 {
      let stream = StreamID(UInt64(index))
      clients[stream] = worker("p\(index)").client
      join(&state, worker("p\(index)"), stream)
      var frame = WorkerFrame()
      frame.groups = [sonnet]
      _ = state.handle(frame, from: stream, now: .zero)
    }
    var largest = 0
    var leases = 0
    func run(from begin: Double, to end: Double) {
      var now = at(begin)
      while now <= at(end) {
        var part = 0
        for effect in state.advance(now: now) {
          switch effect {
          case .tell(let stream, .share(sonnet, let share)):
            part += 1
            if let client = clients[stream] { told[client] = share.rates.requests }
          case .tell(_, .lease): leases += 1
          default: break
          }
          #expect(told.values.reduce(0, +) <= 60_000_000_000)
        }
        largest = max(largest, part)
        now = max(state.nextDeadline(now: now), now + .milliseconds(1))
      }
    }
    run(from: 1, to: 2)
    #expect(told.count == 1_000 && leases == 1_000 && largest == 10)
    // The last one's use shifts the shares: all others lose a little, and are told so before.
    _ = state.handle(asking((1...500).map { request($0, of: worker("p1000")) }), from: StreamID(1_000), now: at(3))
    let before = told
    leases = 0
    run(from: 3, to: 7)
    let last = worker("p1000").client
    #expect(told[last] ?? 0 > before[last] ?? 0)
    #expect(told.allSatisfy { $0.key == last || $0.value < before[$0.key] ?? 0 })
    #expect(leases == 1_000 && largest == 10)
  }

  @Test("What a lost worker may use is kept free until its pod has a new process, or is known to be gone")
  func ghosts() {
    var state = state(plain(requests: 6_000))
    for (name, stream) in [("a", a), ("b", b)] {
      join(&state, worker(name), stream)
      _ = state.handle(asking([]), from: stream, now: .zero)
    }
    _ = state.advance(now: at(6))
    state.disconnect(a, now: at(7))
    state.forgetLost([worker("b").client], now: at(7))
    #expect(state.report(now: at(7)).workers.count == 2, "a worker with a stream isn't forgotten")
    _ = state.join(WorkerHello(identity: worker("a", incarnation: "2")), stream: StreamID(3), now: at(8))
    #expect(state.report(now: at(8)).workers.map(\.identity.incarnation) == ["2", "1"])
    #expect(
      state.report(now: at(8)).groups.first?.report.clients == 1, "the new process hasn't spoken of the group yet")
    // Two processes in one pod, both alive: neither takes the other's place.
    _ = state.join(WorkerHello(identity: worker("b", incarnation: "2")), stream: StreamID(4), now: at(9))
    #expect(state.report(now: at(9)).workers.count == 3)
    state.disconnect(b, now: at(10))
    state.forgetLost([worker("b").client], now: at(10))
    #expect(state.report(now: at(10)).workers.count == 2)
    #expect(state.report(now: at(10)).groups.first?.report.clients == 0)
  }

  @Test("A successor learns for one lease: no more than what its workers bring, then everything")
  func learning() {
    var state = state(plain(requests: 6_000, burst: .seconds(1)), isSuccessor: true)
    let share = Share(
      rates: PerDimension(requests: 600_000_000, inputTokens: .max, inputTokensTotal: .max, outputTokens: .max),
      floor: .zero)
    let memory = GroupMemory(
      key: sonnet, share: share, outstanding: [AdoptedGrant(request: request(1, of: worker("a")))])
    _ = state.join(WorkerHello(identity: worker("a"), groups: [memory]), stream: a, now: .zero)
    #expect(state.report(now: .zero).groups[0].report.outstanding == 1)
    _ = state.handle(asking((2...5_000).map { request(UInt64($0), of: worker("a")) }), from: a, now: .zero)
    var learned = 0
    for tenth in 1...149 { learned += grants(state.advance(now: at(Double(tenth) / 10))).count }
    #expect((140...160).contains(learned), "ten a second, not \(learned)")
    #expect(state.report(now: at(14.9)).groups[0].report.isLearning)
    var full = 0
    for tenth in 151...250 { full += grants(state.advance(now: at(Double(tenth) / 10))).count }
    #expect((980...1_120).contains(full), "a hundred a second, not \(full)")
  }

  @Test("Activity is summed up by fleet; a lost worker counts no more")
  func activity() {
    var state = state(plain(requests: 600))
    join(&state, worker("a"), a)
    join(&state, worker("b"), b)
    join(&state, worker("c", fleet: "writers"), StreamID(3))
    for (stream, busy) in [(a, 2), (b, 3)] {
      var frame = WorkerFrame()
      frame.activity = WorkerActivity(slots: 4, busy: busy, inFlight: 1, waiting: 7, oldestAge: .seconds(busy))
      _ = state.handle(frame, from: stream, now: .zero)
    }
    var report = state.report(now: at(1))
    #expect(report.fleets.map(\.fleet) == ["team/reviewers", "team/writers"])
    #expect(report.fleets[0].slots == 8 && report.fleets[0].busy == 5 && report.fleets[0].waiting == 14)
    #expect(report.fleets[0].oldestAge == .seconds(3))
    #expect(report.fleets[1].reporting == 0 && report.fleets[1].connected == 1)
    state.disconnect(b, now: at(1))
    report = state.report(now: at(2))
    #expect(report.fleets[0].busy == 2 && report.workers.count == 3)
  }

  @Test("A drain order reaches the worker, again after a reconnect, and its answer is known")
  func drain() {
    var state = state(plain(requests: 600))
    join(&state, worker("a"), a)
    guard
      case .tell(a, .drain(let order)) = state.drain(namespace: "team", pod: "a", timeout: .seconds(30), now: .zero)
        .first
    else {
      Issue.record("no order")
      return
    }
    state.disconnect(a, now: at(1))
    let again = state.join(WorkerHello(identity: worker("a")), stream: b, now: at(2))
    #expect(again.contains(.tell(b, .drain(order))))
    var frame = WorkerFrame()
    frame.drainAnswers = [DrainAnswer(order: order.order, state: .drained)]
    _ = state.handle(frame, from: b, now: at(3))
    #expect(state.workers(now: at(3))[0].drain?.answer == .drained)
    let back = state.withdrawDrain(namespace: "team", pod: "a", now: at(4))
    guard case .tell(b, .drain(let withdrawal)) = back.first else {
      Issue.record("no withdrawal")
      return
    }
    #expect(withdrawal.isWithdrawn && withdrawal.order > order.order)
    #expect(state.workers(now: at(4))[0].drain == nil)
    #expect(state.drain(namespace: "team", pod: "nobody", timeout: .zero, now: at(5)).isEmpty)
  }

  @Test("A configuration that changes is followed and told; the same one changes nothing")
  func configure() {
    var state = state(plain(requests: 600))
    join(&state, worker("a"), a)
    #expect(state.configure(coordinatorConfiguration(plain(requests: 600)), now: at(1)).isEmpty)
    let effects = state.configure(coordinatorConfiguration(plain(requests: 60)), now: at(1))
    guard case .tell(a, .group(let group)) = effects.first else {
      Issue.record("not told: \(effects)")
      return
    }
    #expect(group.budget.limits.requests == 60)
  }

  @Test("Groups and workers beyond the bounds are refused, others go on")
  func bounds() {
    var configuration = coordinatorConfiguration(plain(requests: 600))
    configuration.groupLimit = 1
    configuration.sessionLimit = 1
    var state = CoordinatorState(
      configuration: configuration, name: "c", isSuccessor: false, seed: 1, wall: wallStart, now: .zero)
    join(&state, worker("a"), a)
    #expect(
      state.join(WorkerHello(identity: worker("b")), stream: b, now: .zero) == [.close(b, .tooManyWorkers(limit: 1))])
    _ = state.handle(asking([request(1, of: worker("a"))]), from: a, now: .zero)
    let other = GroupKey(organization: "org", modelGroup: "other")
    let effects = state.handle(asking([request(2, of: worker("a"))], group: other), from: a, now: .zero)
    #expect(refusals(effects) == [RefusalNote(number: 2, refusal: .tooManyClients(limit: 1))])
    #expect(grants(state.advance(now: .zero)) == [1])
  }
}
