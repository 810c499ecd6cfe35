import KubernetesCore
import KubernetesRuntime
import TestSupport
import Testing

@Suite("Leader election")
struct LeaderElectionTests {
  private let wall = Timestamp(secondsSinceEpoch: 1_767_225_600)

  private func at(_ seconds: Double) -> MonotonicTime { MonotonicTime(sinceOrigin: .seconds(seconds)) }

  private func candidate(_ identity: String) throws -> LeaderElection {
    LeaderElection(try #require(LeaderElection.Configuration(identity: identity)))
  }

  private func record(_ holder: String, transitions: Int = 3, renewed: Int64 = 0) -> LeaseRecord {
    LeaseRecord(
      holderIdentity: holder, leaseDuration: .seconds(15), acquireTime: wall,
      renewTime: wall + .seconds(renewed), leaseTransitions: transitions)
  }

  @Test("Times that could let two leaders act are refused")
  func configuration() {
    #expect(
      LeaderElection.Configuration(identity: "a", leaseDuration: .seconds(10), renewDeadline: .seconds(10)) == nil)
    #expect(LeaderElection.Configuration(identity: "a", renewDeadline: .seconds(2), retryPeriod: .seconds(2)) == nil)
    #expect(LeaderElection.Configuration(identity: "") == nil)
  }

  @Test("A lease that doesn't exist is created, and leadership counts from before the write")
  func create() throws {
    var election = try candidate("a")
    #expect(election.next(now: at(0), wall: wall) == .read)
    election.observed(nil, now: at(1), random: 0)
    guard case .create(let created) = election.next(now: at(1), wall: wall) else {
      Issue.record("expected a create")
      return
    }
    #expect(created.holderIdentity == "a")
    #expect(created.leaseTransitions == 0)
    election.wrote(created, resourceVersion: "1", startedAt: at(1), now: at(4))
    #expect(election.isValid(now: at(10.9)))
    #expect(!election.isValid(now: at(11)))
  }

  @Test("A lease of somebody else is taken only after its duration has passed without a change, by the own clock")
  func expiry() throws {
    var election = try candidate("b")
    _ = election.next(now: at(0), wall: wall)
    // The other's wall clock is far off: it doesn't matter.
    election.observed((record("a", renewed: -86_400), "7"), now: at(0), random: 0)
    #expect(election.next(now: at(0), wall: wall) == .wait(until: at(2)))
    #expect(election.next(now: at(2), wall: wall) == .read)
    election.observed((record("a", renewed: -86_395), "8"), now: at(5), random: 0)
    #expect(election.next(now: at(7), wall: wall) == .read)
    election.observed((record("a", renewed: -86_395), "8"), now: at(19.9), random: 0)
    #expect(election.next(now: at(21.9), wall: wall) == .read)
    election.observed((record("a", renewed: -86_395), "8"), now: at(21.9), random: 0)
    guard case .replace(let taken, resourceVersion: "8") = election.next(now: at(21.9), wall: wall) else {
      Issue.record("expected a replace at version 8")
      return
    }
    #expect(taken.holderIdentity == "b")
    #expect(taken.leaseTransitions == 4)
  }

  @Test("A released lease is taken at once")
  func released() throws {
    var election = try candidate("b")
    _ = election.next(now: at(0), wall: wall)
    election.observed((record(""), "7"), now: at(0), random: 0)
    guard case .replace(let taken, resourceVersion: "7") = election.next(now: at(0), wall: wall) else {
      Issue.record("expected a replace")
      return
    }
    #expect(taken.leaseTransitions == 4)
  }

  private func leader() throws -> LeaderElection {
    var election = try candidate("a")
    _ = election.next(now: at(0), wall: wall)
    election.observed(nil, now: at(0), random: 0)
    election.wrote(record("a"), resourceVersion: "1", startedAt: at(0), now: at(0))
    return election
  }

  @Test("A leader renews each retry period and keeps the time of acquisition and the transitions")
  func renew() throws {
    var election = try leader()
    #expect(election.next(now: at(1), wall: wall) == .wait(until: at(2)))
    let expected = record("a", renewed: 50)
    #expect(election.next(now: at(2), wall: wall + .seconds(50)) == .replace(expected, resourceVersion: "1"))
    election.wrote(expected, resourceVersion: "2", startedAt: at(2), now: at(3))
    #expect(election.leadershipDeadline == at(12))
  }

  @Test("A leader whose renewals fail stops at the renew deadline, and says so once")
  func lost() throws {
    var election = try leader()
    election.failed(now: at(9), retryAfter: .seconds(60), random: 0)
    #expect(election.next(now: at(9), wall: wall) == .wait(until: at(10)))
    #expect(election.next(now: at(10), wall: wall) == .stepDown)
    #expect(!election.isLeading)
    #expect(election.next(now: at(11), wall: wall) == .read)
    #expect(election.losses == 1)
  }

  @Test("A renewal that comes back after the deadline doesn't bring the leadership back")
  func lateRenewal() throws {
    var election = try leader()
    _ = election.next(now: at(9), wall: wall)
    election.wrote(record("a", renewed: 9), resourceVersion: "2", startedAt: at(9), now: at(10.5))
    #expect(!election.isValid(now: at(10.5)))
    #expect(election.next(now: at(10.5), wall: wall) == .stepDown)
  }

  @Test("A leader that sees another holder steps down at once")
  func takenOver() throws {
    var election = try leader()
    election.conflicted(now: at(2), random: 0)
    #expect(election.next(now: at(2.5), wall: wall) == .read)
    election.observed((record("b"), "9"), now: at(2.6), random: 0)
    #expect(!election.isValid(now: at(2.6)))
    #expect(election.next(now: at(2.6), wall: wall) == .stepDown)
  }

  @Test("A write whose answer was lost is found by reading, and renewed")
  func lostAnswer() throws {
    var election = try leader()
    election.failed(now: at(3), retryAfter: nil, random: 0)
    #expect(election.next(now: at(5), wall: wall) == .read)
    election.observed((record("a", renewed: 2), "2"), now: at(5), random: 0)
    #expect(election.next(now: at(5), wall: wall) == .replace(record("a"), resourceVersion: "2"))
  }

  @Test("A steps of the wall clock changes no deadline", arguments: [-86_400, 86_400] as [Int64])
  func clockStep(step: Int64) throws {
    var election = try leader()
    #expect(election.next(now: at(1), wall: wall + .seconds(step)) == .wait(until: at(2)))
    #expect(election.isValid(now: at(9)))
  }

  @Test("Never do two candidates act at once, whatever fails", arguments: 0..<150 as Range<UInt64>)
  func safety(seed: UInt64) throws {
    var simulation = try ElectionSimulation(seed: seed)
    for _ in 0..<1_500 { simulation.step() }
    #expect(simulation.violations.isEmpty, "seed \(seed): \(simulation.violations)")
    #expect(simulation.acquisitions > 0, "seed \(seed): nobody ever led")
  }
}

/// Three candidates with requests that are slow, lost before or after they are carried out, and out of order.
private struct ElectionSimulation {
  private struct Pending {
    var candidate: Int
    var action: LeaderElection.Action
    var startedAt: MonotonicTime
    var appliesAt: MonotonicTime
    var answersAt: MonotonicTime
    var isApplied = false
    var answer: Answer = .lost
  }

  private enum Answer {
    case lost
    case found((record: LeaseRecord, resourceVersion: String)?)
    case written(LeaseRecord, String)
    case conflict
  }

  private var random: SeededGenerator
  private var candidates: [LeaderElection] = []
  private var stored: (record: LeaseRecord, resourceVersion: String)?
  private var version = 0
  private var pending: [Pending] = []
  private var now = MonotonicTime(sinceOrigin: .zero)
  private(set) var violations: [String] = []

  var acquisitions: Int { candidates.reduce(0) { $0 + $1.acquisitions } }

  init(seed: UInt64) throws {
    random = SeededGenerator(seed: seed)
    for identity in ["a", "b", "c"] {
      guard let configuration = LeaderElection.Configuration(identity: identity) else {
        throw TestFailure("the default times are refused")
      }
      candidates.append(LeaderElection(configuration))
    }
  }

  mutating func step() {
    now = now + .milliseconds(Int.random(in: 10...400, using: &random))
    for index in candidates.indices where !pending.contains(where: { $0.candidate == index }) {
      // Each candidate's wall clock is its own.
      let wall = Timestamp(secondsSinceEpoch: Int64(index * 100_000)) + now.sinceOrigin
      let action = candidates[index].next(now: now, wall: wall)
      switch action {
      case .wait, .stepDown: break
      default: begin(action, index)
      }
    }
    for index in pending.indices where !pending[index].isApplied && pending[index].appliesAt <= now { apply(index) }
    let due = pending.filter { $0.answersAt <= now }
    pending.removeAll { $0.answersAt <= now }
    for request in due { deliver(request) }
    let leaders = candidates.indices.filter { candidates[$0].isValid(now: now) }
    if leaders.count > 1 { violations.append("\(leaders) at \(now.sinceOrigin)") }
  }

  private mutating func begin(_ action: LeaderElection.Action, _ index: Int) {
    // One request in ten is slow: up to 12 s, longer than the renew deadline.
    let isSlow = Int.random(in: 0..<10, using: &random) == 0
    let delay = Int.random(in: 1...(isSlow ? 6_000 : 200), using: &random)
    let back = Int.random(in: 1...(isSlow ? 6_000 : 200), using: &random)
    pending.append(
      Pending(
        candidate: index, action: action, startedAt: now, appliesAt: now + .milliseconds(delay),
        answersAt: now + .milliseconds(delay + back)))
  }

  private mutating func apply(_ index: Int) {
    pending[index].isApplied = true
    // One in eight is lost on the way there, one in eight on the way back.
    if Int.random(in: 0..<8, using: &random) == 0 { return }
    let answer: Answer
    switch pending[index].action {
    case .read: answer = .found(stored)
    case .create(let record): answer = stored == nil ? write(record) : .conflict
    case .replace(let record, let expected):
      answer = stored?.resourceVersion == expected ? write(record) : .conflict
    default: return
    }
    if Int.random(in: 0..<8, using: &random) != 0 { pending[index].answer = answer }
  }

  private mutating func write(_ record: LeaseRecord) -> Answer {
    version += 1
    stored = (record, "\(version)")
    return .written(record, "\(version)")
  }

  private mutating func deliver(_ request: Pending) {
    let drawn = random.next()
    switch request.answer {
    case .lost: candidates[request.candidate].failed(now: now, retryAfter: nil, random: drawn)
    case .found(let lease): candidates[request.candidate].observed(lease, now: now, random: drawn)
    case .conflict: candidates[request.candidate].conflicted(now: now, random: drawn)
    case .written(let record, let version):
      candidates[request.candidate].wrote(record, resourceVersion: version, startedAt: request.startedAt, now: now)
    }
  }
}
