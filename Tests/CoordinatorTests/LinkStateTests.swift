import CoordinationProtocol
import Coordinator
import RateBudget
import SwarmCoordination
import Testing

@Suite struct LinkStateTests {
  @Test("P02: three workers that each offer 0.9 of the limit stay within it together, and use it")
  func threeWorkers() {
    var swarm = VirtualSwarm(plain(requests: 600, burst: .seconds(5)), workers: 3)
    swarm.start()
    swarm.connectAll()
    // 600 a minute are ten a second; each worker offers nine.
    for number in 1...1_080 {
      for index in 0..<3 { swarm.ask(index, UInt64(number)) }
      if number % 9 == 0 { swarm.run(.seconds(1)) }
    }
    for start in 0..<60 {
      let count = swarm.count(from: at(Double(start)), to: at(Double(start + 60)))
      #expect(count <= 600 + 50, "never over the limit and its burst: \(count) from \(start) s")
    }
    #expect(swarm.count >= 1_190, "and never under it: \(swarm.count)")
    let each = swarm.admitted.map(\.count)
    #expect((each.max() ?? 0) - (each.min() ?? 0) <= 30, "\(each)")
  }

  @Test("P25: without the coordinator each worker goes on at its share, then decays; requests flow within a second")
  func coordinatorLost() {
    var swarm = VirtualSwarm(plain(requests: 6_000, burst: .seconds(1)), workers: 10)
    swarm.start()
    swarm.connectAll()
    // Busy workers: 10 a second each are their shares.
    for index in 0..<10 { for number in 1...1_600 { swarm.ask(index, UInt64(number)) } }
    swarm.run(.seconds(12))
    let before = swarm.count(from: at(6), to: at(12))
    #expect((580...630).contains(before), "\(before)")
    swarm.crash()
    swarm.run(.seconds(1))
    #expect(swarm.admitted.allSatisfy { $0.contains { $0.time >= at(12) } }, "each worker has gone on within a second")
    swarm.run(.seconds(13))
    let lease = swarm.count(from: at(13), to: at(26)) / 13
    #expect((85...105).contains(lease), "at the shares for one lease: \(lease) a second")
    swarm.run(.seconds(120))
    let floor = swarm.count(from: at(116), to: at(146)) / 30
    #expect((40...60).contains(floor), "at the floor after that: \(floor) a second")
  }

  @Test("A coordinator that restarts loses nothing: what waited is granted there, what was open is adopted")
  func restart() {
    var swarm = VirtualSwarm(plain(requests: 600, burst: .seconds(1)), workers: 3)
    swarm.start()
    swarm.connectAll()
    for index in 0..<3 { for number in 1...400 { swarm.ask(index, UInt64(number)) } }
    swarm.run(.seconds(10))
    let held = swarm.count
    swarm.crash()
    swarm.run(.seconds(5))
    let alone = swarm.count - held
    #expect(alone > 20, "it went on at shares: \(alone)")
    swarm.start(isSuccessor: true)
    swarm.connectAll()
    let report = swarm.coordinator?.report(now: swarm.now)
    #expect(report?.groups[0].report.outstanding == swarm.count, "every open grant is adopted")
    swarm.run(.seconds(100))
    #expect(swarm.count > 1_000, "\(swarm.count)")
    swarm.run(.seconds(40))
    let numbers = swarm.admitted.map { $0.map(\.admission.grant.id.number) }
    #expect(
      numbers.allSatisfy { $0.count == 400 && Set($0).count == 400 }, "each request once: \(numbers.map(\.count))")
    for start in 0..<90 {
      #expect(swarm.count(from: at(Double(start)), to: at(Double(start + 60))) <= 600 + 40, "from \(start) s")
    }
  }

  @Test("A settlement made while the coordinator was away is told when it is back")
  func lateSettlement() throws {
    var swarm = VirtualSwarm(plain(input: 6_000, burst: .seconds(60)), workers: 1)
    swarm.start()
    swarm.connect(0)
    swarm.ask(0, 1, input: 1_000)
    swarm.step()
    let admission = try #require(swarm.admitted[0].first).admission
    // Only the stream is lost; the coordinator has its books.
    let kept = swarm.coordinator
    swarm.crash()
    swarm.links[0].settle(admission, usage: Usage(input: 100, output: 1), isFinal: true, now: swarm.now)
    swarm.coordinator = kept
    swarm.connect(0)
    swarm.step()
    let report = swarm.coordinator?.report(now: swarm.now).groups[0].report
    #expect(report?.outstanding == 0)
    #expect(report?.dimensions[0].admitted == 100)
  }

  @Test("A cancelled request is taken back wherever it waits", arguments: [true, false])
  func cancelled(isConnected: Bool) {
    var swarm = VirtualSwarm(plain(requests: 1, burst: .seconds(60)), workers: 1)
    if isConnected {
      swarm.start()
      swarm.connect(0)
    }
    swarm.ask(0, 1)
    swarm.ask(0, 2)
    swarm.step()
    let waiting: UInt64 = swarm.admitted[0].isEmpty ? 1 : 2
    let first = swarm.links[0].cancel(waiting, now: swarm.now)
    let second = swarm.links[0].cancel(waiting, now: swarm.now)
    #expect(first && !second)
    swarm.step()
    swarm.run(.seconds(200), step: .seconds(1))
    #expect(!swarm.admitted[0].contains { $0.admission.grant.id.number == waiting })
    if isConnected { #expect(swarm.coordinator?.report(now: swarm.now).groups[0].report.waiting == 0) }
  }

  @Test("A grant that comes before its client asks again is kept for it, and given back when it never does")
  func unattended() {
    var swarm = VirtualSwarm(plain(requests: 600), workers: 1)
    swarm.start()
    swarm.connect(0)
    swarm.ask(0, 1, deadline: at(60))
    swarm.ask(0, 2, deadline: at(60))
    swarm.step()
    for entry in swarm.admitted[0] {
      let decision = swarm.links[0].reject(
        entry.admission, verdict: .rateLimited(retryAfter: .seconds(1)), headers: RateHeaders(), now: swarm.now)
      #expect(decision == nil)
    }
    swarm.step()
    #expect(swarm.answered[0].count == 2)
    swarm.run(.seconds(10))
    swarm.ask(0, 1, deadline: at(60))
    #expect(swarm.admitted[0].map(\.admission.grant.id.number) == [1, 2, 1])
    #expect(swarm.admitted[0].last?.admission.grant.attempt == 1)
    #expect(swarm.coordinator?.report(now: swarm.now).groups[0].report.outstanding == 2)
    swarm.run(.seconds(60))
    #expect(swarm.coordinator?.report(now: swarm.now).groups[0].report.outstanding == 1, "nobody came for the second")
  }

  @Test("A rejection that the coordinator never answers is decided by the worker itself")
  func rejectionAcrossLoss() throws {
    var swarm = VirtualSwarm(plain(requests: 600), workers: 1)
    swarm.start()
    swarm.connect(0)
    swarm.ask(0, 1)
    swarm.step()
    let admission = try #require(swarm.admitted[0].first).admission
    _ = swarm.links[0].reject(admission, verdict: .overloaded, headers: RateHeaders(), now: swarm.now)
    swarm.crash()
    guard case .requeued = swarm.answered[0][1] else {
      Issue.record("\(swarm.answered)")
      return
    }
    swarm.ask(0, 1)
    swarm.run(.seconds(20))
    #expect(swarm.admitted[0].count == 2)
  }

  @Test("A silent coordinator is given up after its lease, not before")
  func silence() {
    var swarm = VirtualSwarm(plain(requests: 600), workers: 1)
    swarm.start()
    swarm.connect(0)
    swarm.run(.seconds(60))
    #expect(!swarm.links[0].isSilent(at: swarm.now), "signs of life come in time")
    swarm.coordinator = nil
    swarm.run(.seconds(9))
    #expect(!swarm.links[0].isSilent(at: swarm.now))
    #expect(swarm.links[0].isSilent(at: swarm.now + .seconds(15)))
  }

  @Test("Input is told once it is known, output at most once a second, the end at once")
  func progress() throws {
    var swarm = VirtualSwarm(plain(input: 60_000, output: 60_000), workers: 1)
    swarm.start()
    swarm.connect(0)
    swarm.ask(0, 1, input: 1_000)
    swarm.step()
    let admission = try #require(swarm.admitted[0].first).admission
    var told: [Usage] = []
    for event in 1...400 {
      swarm.links[0].settle(
        admission, usage: Usage(input: 800, output: Int64(event)), isFinal: event == 400, now: swarm.now)
      swarm.now = swarm.now + .milliseconds(10)
      while let frame = swarm.links[0].takeOutgoing(now: swarm.now) { told += frame.settlements.map(\.usage) }
    }
    #expect(told.first == Usage(input: 800, output: 1))
    #expect(told.last == Usage(input: 800, output: 400))
    #expect((4...7).contains(told.count), "\(told)")
  }

  @Test("More groups than a stream may speak of are refused")
  func groupBound() {
    var link = LinkState(
      identity: worker("a"), configuration: LinkConfiguration(host: "h", port: 1, security: .plaintext), seed: 1)
    for index in 0...ProtocolLimits.groups {
      let key = GroupKey(organization: "org", modelGroup: "m\(index)")
      let result = link.acquire(admissionRequest(UInt64(index + 1), of: worker("a"), group: key), now: .zero)
      if index < ProtocolLimits.groups {
        if case .failed = result { Issue.record("refused at \(index)") }
      } else if case .failed(.refused(.tooManyClients)) = result {
      } else {
        Issue.record("not refused")
      }
    }
  }
}

/// Which group a request draws on, and what happens to those that wait when that changes.
@Suite struct LinkGroupTests {
  private static let identity = worker("pod")
  private static let budget = plain(requests: 60_000)

  private static func link(patience: Duration = .zero) -> LinkState {
    var configuration = LinkConfiguration(host: "localhost", port: 1, security: .plaintext, defaults: budget)
    configuration.patience = patience
    configuration.initialPercent = 100
    return LinkState(identity: identity, configuration: configuration, seed: 1)
  }

  private static func group(_ name: String, _ models: String..., organization: String = "") -> GroupConfiguration {
    GroupConfiguration(modelGroup: name, organization: organization, models: models, budget: budget)
  }

  private static func welcome(_ groups: GroupConfiguration...) -> CoordinatorWelcome {
    CoordinatorWelcome(coordinator: "c", lease: .seconds(15), groups: groups)
  }

  private static func ask(_ link: inout LinkState, _ number: UInt64, now: BudgetTime = .zero) -> LinkState.Acquisition {
    let key = link.plan.group(model: "claude-sonnet-5", speed: "")
    return link.acquire(AdmissionRequest(group: key, grant: request(number, of: identity)), now: now)
  }

  @Test("The first group that names a model counts, with its organisation; a new coordinator's groups replace the old")
  func plan() {
    var link = Self.link()
    #expect(link.plan.group(model: "claude-sonnet-5", speed: "").modelGroup == "team/models/claude-sonnet-5")
    let other = Self.group("other", "gpt-*")
    link.welcomed(
      Self.welcome(other, Self.group("claude", "claude-*", organization: "org"), Self.group("all")), now: .zero)
    #expect(
      link.plan.group(model: "claude-sonnet-5", speed: "fast")
        == GroupKey(organization: "org", modelGroup: "claude", speed: "fast"))
    #expect(link.plan.group(model: "unknown", speed: "").modelGroup == "all")
    var frame = CoordinatorFrame()
    frame.groups = [Self.group("other", "claude-*")]
    _ = link.received(frame, now: .zero)
    #expect(link.plan.group(model: "claude-sonnet-5", speed: "").modelGroup == "other", "it keeps its place")
    _ = link.lost(now: .zero)
    link.welcomed(Self.welcome(Self.group("claude", "claude-*")), now: .zero)
    #expect(link.configured.map(\.modelGroup) == ["claude"])
  }

  @Test("What waits for the first word of a coordinator goes to the group that it has, and is asked for once")
  func firstWord() {
    var link = Self.link(patience: .seconds(2))
    guard case .waiting = Self.ask(&link, 1) else {
      Issue.record("it didn't wait")
      return
    }
    #expect(link.nextDeadline(now: .zero) == at(2))
    #expect(link.advance(now: at(1)).isEmpty)
    link.welcomed(Self.welcome(Self.group("claude", "claude-*")), now: at(1))
    let frame = link.takeOutgoing(now: at(1))
    #expect(frame?.requests.map(\.group.modelGroup) == ["claude"] && frame?.cancellations == [])
    var answer = CoordinatorFrame()
    answer.grants = [GrantNote(number: 1, waited: .zero, lease: .seconds(60))]
    guard case .admitted(1, let admission)? = link.received(answer, now: at(1)).first else {
      Issue.record("it wasn't admitted")
      return
    }
    #expect(admission.group.modelGroup == "claude" && link.counts.byCoordinator == 1 && link.counts.byShare == 0)
  }

  @Test("When the first word doesn't come, or the first attempt fails, the worker's own share is used")
  func noWord() {
    var late = Self.link(patience: .seconds(2))
    _ = Self.ask(&late, 1)
    guard case .admitted(1, _)? = late.advance(now: at(2)).first else {
      Issue.record("it waits for ever")
      return
    }
    var failed = Self.link(patience: .seconds(2))
    _ = Self.ask(&failed, 1)
    guard case .admitted(1, _)? = failed.lost(now: at(1)).first else {
      Issue.record("it waits for its time")
      return
    }
    _ = Self.ask(&failed, 2, now: at(1))
    guard case .admitted(2, _)? = failed.advance(now: at(1)).first else {
      Issue.record("it is patient twice")
      return
    }
    #expect(failed.counts.byShare == 2)
  }

  @Test("What waits in a group that nobody has configured moves to one that is configured later")
  func moves() {
    var link = Self.link()
    link.welcomed(Self.welcome(), now: .zero)
    _ = Self.ask(&link, 1)
    #expect(link.takeOutgoing(now: .zero)?.requests.map(\.group.modelGroup) == ["team/models/claude-sonnet-5"])
    var frame = CoordinatorFrame()
    frame.groups = [Self.group("claude", "claude-*")]
    #expect(link.received(frame, now: at(1)).isEmpty)
    let moved = link.takeOutgoing(now: at(1))
    #expect(moved?.requests.map(\.group.modelGroup) == ["claude"])
    #expect(moved?.cancellations.map(\.group.modelGroup) == ["team/models/claude-sonnet-5"])
    // Told again, it stays where it is.
    _ = link.received(frame, now: at(2))
    #expect(link.takeOutgoing(now: at(2)) == nil)
  }
}
