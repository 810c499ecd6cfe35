import CoordinationCore
import SlowTests
import Testing

private func at(_ seconds: Int) -> Duration { .seconds(seconds) }

@Suite struct MembershipTests {
  private var fleet = Membership()

  @Test("A member that goes silent is suspected after 20 s and gone after 30, and what it held with it")
  mutating func expires() {
    #expect(fleet.handle(.join("a", incarnation: 1, slots: 8), now: at(0)) == [.joined("a", incarnation: 1)])
    #expect(fleet.handle(.renew("a", incarnation: 1, slots: 8), now: at(10)).isEmpty)
    #expect(fleet.handle(.tick, now: at(29)).isEmpty)
    #expect(fleet.handle(.tick, now: at(30)) == [.suspected("a")] && fleet.available.isEmpty)
    #expect(fleet.handle(.tick, now: at(39)).isEmpty)
    #expect(fleet.handle(.tick, now: at(40)) == [.ended("a", incarnation: 1, .expired)] && fleet.members.isEmpty)
  }

  @Test("A suspect that is heard is a member as before, with the slots that it has now")
  mutating func recovers() {
    _ = fleet.handle(.join("a", incarnation: 1, slots: 8), now: at(0))
    #expect(fleet.handle(.tick, now: at(25)) == [.suspected("a")])
    #expect(
      fleet.handle(.renew("a", incarnation: 1, slots: 4), now: at(29)) == [.recovered("a"), .resized("a", slots: 4)])
    #expect(fleet.handle(.tick, now: at(48)).isEmpty)
    #expect(fleet.handle(.tick, now: at(49)) == [.suspected("a")])
  }

  @Test("What has expired can't come back under its number, however late it speaks; under a higher one it can")
  mutating func incarnations() {
    _ = fleet.handle(.join("a", incarnation: 3, slots: 8), now: at(0))
    _ = fleet.handle(.tick, now: at(31))
    _ = fleet.handle(.tick, now: at(60))
    for event in [
      Membership.Event.renew("a", incarnation: 3, slots: 8), .join("a", incarnation: 2, slots: 8),
      .join("a", incarnation: 3, slots: 8),
    ] {
      guard case .refused = fleet.handle(event, now: at(61)).last else {
        return #expect(Bool(false), "\(event) is taken")
      }
    }
    #expect(fleet.handle(.join("a", incarnation: 4, slots: 8), now: at(61)) == [.joined("a", incarnation: 4)])
    // The earlier run's goodbye comes late.
    #expect(fleet.handle(.leave("a", incarnation: 3), now: at(62)).isEmpty && fleet.members.count == 1)
    #expect(fleet.handle(.leave("a", incarnation: 4), now: at(63)) == [.ended("a", incarnation: 4, .left)])
  }

  @Test("A member that starts anew before its lease has ended replaces itself, and its first run's leases end at once")
  mutating func replaced() {
    _ = fleet.handle(.join("a", incarnation: 1, slots: 8), now: at(0))
    #expect(
      fleet.handle(.join("a", incarnation: 2, slots: 8), now: at(5)) == [
        .ended("a", incarnation: 1, .replaced), .joined("a", incarnation: 2),
      ])
    #expect(fleet.handle(.join("a", incarnation: 1, slots: 8), now: at(6)) == [.refused("a", incarnation: 1)])
    // A repeated join is a renewal.
    #expect(fleet.handle(.join("a", incarnation: 2, slots: 8), now: at(20)).isEmpty)
    #expect(fleet.handle(.tick, now: at(39)).isEmpty)
  }

  @Test("Ten thousand members that come and go leave nothing due")
  mutating func bounded() {
    for number in 0..<10_000 {
      _ = fleet.handle(
        .join("m\(number % 100)", incarnation: UInt64(number + 1), slots: 1), now: .milliseconds(number * 100))
    }
    for second in 1_000...2_000 { _ = fleet.handle(.tick, now: at(second)) }
    #expect(fleet.members.isEmpty && fleet.nextDeadline == nil)
  }
}

/// A register with compare-and-set, and candidates that lose messages, stop and die.
private struct Election {
  struct Register {
    var record: LeaderRecord?
    var revision: UInt64 = 0
  }
  struct Letter {
    var at: Duration
    var to: Int
    var event: LeaderCandidate.Event
  }

  var dice: Dice
  var register = Register()
  var candidates: [LeaderCandidate] = []
  var letters: [Letter] = []
  var pausedUntil: [Duration]
  var runs = 0
  var now = Duration.zero
  /// Epochs that led, and by whom.
  var leaders: [UInt64: String] = [:]
  var names: [String] = []
  var isFaulty = true

  init(seed: UInt64, count: Int) {
    dice = Dice(state: seed)
    pausedUntil = [Duration](repeating: .zero, count: count)
    for index in 0..<count {
      names.append("")
      candidates.append(LeaderCandidate(name: ""))
      start(index)
    }
  }

  /// A process is another one after its start.
  mutating func start(_ index: Int) {
    runs += 1
    names[index] = "run\(runs)"
    candidates[index] = LeaderCandidate(name: names[index])
    letters.removeAll { $0.to == index }
  }

  mutating func step() {
    now += .milliseconds(100)
    for index in candidates.indices where pausedUntil[index] <= now {
      if isFaulty, dice.roll(400) == 0 { pausedUntil[index] = now + .seconds(dice.roll(40)) }
      if isFaulty, dice.roll(600) == 0 { start(index) }
      if isFaulty, dice.roll(800) == 0 {
        perform(candidates[index].handle(.resign, now: now), index)
        start(index)
      }
      let due = letters.filter { $0.to == index && $0.at <= now }
      letters.removeAll { $0.to == index && $0.at <= now }
      for letter in due { perform(candidates[index].handle(letter.event, now: now), index) }
      perform(candidates[index].handle(.tick, now: now), index)
    }
  }

  private mutating func perform(_ effects: [LeaderCandidate.Effect], _ index: Int) {
    for effect in effects {
      switch effect {
      case .read:
        if isLost() { continue }
        answer(index, .read(register.record, revision: register.revision))
      case .write(let record, let expected):
        if isLost() { continue }
        guard register.revision == expected else { answer(index, .conflict); continue }
        #expect(record.epoch >= register.record?.epoch ?? 0, "epochs go back")
        register = Register(record: record, revision: register.revision + 1)
        answer(index, .written(revision: register.revision))
      case .lead(let epoch):
        // Whoever was late with a renewal that was taken goes on under its epoch.
        #expect(leaders[epoch, default: names[index]] == names[index], "two leaders have one epoch")
        leaders[epoch] = names[index]
      case .stepDown: break
      }
    }
  }

  private mutating func isLost() -> Bool { isFaulty && dice.roll(20) == 0 }

  private mutating func answer(_ index: Int, _ event: LeaderCandidate.Event) {
    if isLost() { return }
    letters.append(Letter(at: now + .milliseconds(isFaulty ? dice.roll(3_000) : 10), to: index, event: event))
  }
}

@Suite struct LeaderCandidateTests {
  @Test(
    "Whatever is lost and whoever stops, no two lead by the clock at a time, epochs rise, and one leads within three leases of calm",
    .slow, arguments: 0..<40)
  func election(seed: Int) {
    var election = Election(seed: UInt64(seed), count: 3)
    for _ in 0..<6_000 {
      election.step()
      let leading = election.candidates.indices.filter { election.candidates[$0].epoch(now: election.now) != nil }
      #expect(leading.count <= 1, "\(leading) lead at \(election.now)")
    }
    #expect(election.leaders.count > 1, "nothing happened")
    election.isFaulty = false
    for _ in 0..<(300 + 400) { election.step() }
    let leading = election.candidates.compactMap { $0.epoch(now: election.now) }
    #expect(leading.count == 1 && leading.first == election.register.record?.epoch)
  }

  @Test("A leader that resigns is followed at once")
  func resign() {
    var first = LeaderCandidate(name: "a")
    #expect(first.handle(.tick, now: at(0)) == [.read])
    let record = LeaderRecord(holder: "a", epoch: 1, renewals: 0)
    #expect(first.handle(.read(nil, revision: 0), now: at(0)) == [.write(record, expected: 0)])
    #expect(first.handle(.written(revision: 1), now: at(1)) == [.lead(epoch: 1)])
    #expect(first.epoch(now: at(7)) == 1 && first.epoch(now: at(8)) == nil)
    let free = LeaderRecord(holder: "", epoch: 1, renewals: 1)
    #expect(first.handle(.resign, now: at(2)) == [.stepDown, .write(free, expected: 1)])
    var second = LeaderCandidate(name: "b")
    _ = second.handle(.tick, now: at(3))
    #expect(
      second.handle(.read(free, revision: 2), now: at(3)) == [
        .write(LeaderRecord(holder: "b", epoch: 2, renewals: 0), expected: 2)
      ])
  }
}
