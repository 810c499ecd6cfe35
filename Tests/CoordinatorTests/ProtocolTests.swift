import CoordinationProtocol
import RateBudget
import SwiftProtobuf
import Testing

@Suite struct ProtocolTests {
  private let identity = worker("a")

  private func frame() -> WorkerFrame {
    var frame = WorkerFrame()
    frame.observations = [
      (
        sonnet,
        RateHeaders(
          readings: PerDimension(
            requests: .init(limit: 50, remaining: 49, reset: WallTime(milliseconds: 5_000)), inputTokens: .init(),
            inputTokensTotal: .init(), outputTokens: .init(limit: 8_000)), date: WallTime(milliseconds: 4_000))
      )
    ]
    frame.settlements = [
      SettlementNote(group: sonnet, number: 1, kind: .progress, usage: Usage(input: 5, cacheRead: 0)),
      SettlementNote(group: sonnet, number: 2, kind: .final, usage: Usage(output: 7)),
      SettlementNote(group: sonnet, number: 3, kind: .released),
    ]
    frame.rejections = [
      RejectionNote(group: sonnet, number: 4, verdict: .rateLimited(retryAfter: .seconds(2))),
      RejectionNote(group: sonnet, number: 5, verdict: .rateLimited(retryAfter: nil)),
      RejectionNote(
        group: sonnet, number: 6, verdict: .spendLimited(code: "enforced_spend_limit_reached", retryAfter: nil)),
      RejectionNote(group: sonnet, number: 7, verdict: .overloaded),
      RejectionNote(group: sonnet, number: 8, verdict: .rampLimited(retryAfter: .seconds(1))),
    ]
    var urgent = request(9, of: identity, input: 100, output: 10, deadline: at(300))
    urgent.priority = .interactive
    frame.requests = [
      RequestNote(group: sonnet, request: urgent),
      RequestNote(
        group: GroupKey(organization: "org", workspace: "w", modelGroup: "opus", speed: "fast"),
        request: request(10, of: identity, deadline: at(1))),
    ]
    frame.cancellations = [NumberNote(group: sonnet, number: 11)]
    frame.activity = WorkerActivity(slots: 4, busy: 3, inFlight: 2, waiting: 1, oldestAge: .seconds(9))
    frame.drainAnswers = [DrainAnswer(order: 12, state: .refused)]
    frame.isGoodbye = true
    return frame
  }

  @Test("A worker's frame is the same after a journey over the wire")
  func workerFrame() throws {
    var numbers = GroupNumbers()
    var table = GroupTable()
    let bytes: [UInt8] = try frame().wire(numbers: &numbers, now: .zero).serializedBytes()
    let read = try WorkerFrame(
      validating: WireWorkerFrame(serializedBytes: bytes), table: &table, identity: identity, now: .zero)
    var expected = frame()
    expected.groups = read.groups
    #expect(read == expected)
    #expect(Set(read.groups).count == 2)
  }

  @Test("Deadlines cross the wire as durations: the clocks of the two sides have different origins")
  func deadlines() throws {
    var numbers = GroupNumbers()
    var table = GroupTable()
    var frame = WorkerFrame()
    frame.requests = [RequestNote(group: sonnet, request: request(1, of: identity, deadline: at(130)))]
    let wire = frame.wire(numbers: &numbers, now: at(100))
    let read = try WorkerFrame(validating: wire, table: &table, identity: identity, now: at(7))
    #expect(read.requests[0].request.deadline == at(37))
  }

  @Test("A hello is the same after a journey over the wire")
  func hello() throws {
    let share = Share(
      rates: PerDimension(requests: 5, inputTokens: 6, inputTokensTotal: .max, outputTokens: 7),
      floor: PerDimension(requests: 1, inputTokens: 2, inputTokensTotal: .max, outputTokens: 3))
    let hello = WorkerHello(
      identity: identity, capabilities: ["x"],
      groups: [
        GroupMemory(
          key: sonnet, share: share,
          outstanding: [
            AdoptedGrant(request: request(1, of: identity, input: 5, deadline: at(9)), age: .seconds(3), output: 8)
          ], used: PerDimension(requests: 3, inputTokens: 4, inputTokensTotal: 5, outputTokens: 6))
      ], activity: WorkerActivity(slots: 1))
    var numbers = GroupNumbers()
    var table = GroupTable()
    #expect(try WorkerHello(validating: hello.wire(numbers: &numbers, now: .zero), table: &table, now: .zero) == hello)
  }

  @Test("What the coordinator says is the same after a journey over the wire")
  func coordinatorFrame() throws {
    var frame = CoordinatorFrame()
    frame.grants = [GrantNote(number: 1, waited: .seconds(1), lease: .seconds(660), attempt: 2)]
    frame.refusals = [
      RefusalNote(number: 2, refusal: nil), RefusalNote(number: 3, refusal: .queueFull(limit: 9)),
      RefusalNote(number: 4, refusal: .spendCeiling(.day, resumesIn: .seconds(5))),
      RefusalNote(number: 5, refusal: .spendCeiling(.hour, resumesIn: .seconds(5))),
      RefusalNote(number: 6, refusal: .upstreamSpendLimit(code: "c")),
      RefusalNote(number: 7, refusal: .upstreamPause(retryAfter: .seconds(900))),
      RefusalNote(number: 8, refusal: .deadlineBeforeRetry(retryAfter: .seconds(90))),
      RefusalNote(number: 9, refusal: .tooManyClients(limit: 4)),
    ]
    frame.answers = [
      RejectionAnswer(number: 10, decision: .requeued(.seconds(3))), RejectionAnswer(number: 11, decision: .unknown),
      RejectionAnswer(number: 12, decision: .tellClient(.upstreamPause(retryAfter: .seconds(400)))),
    ]
    let share = Share(rates: PerDimension(repeating: 4), floor: PerDimension(repeating: 2))
    frame.shares = [(sonnet, share)]
    frame.lease = .seconds(15)
    frame.drains = [
      DrainOrder(order: 13, timeout: .seconds(30)), DrainOrder(order: 14, timeout: .zero, isWithdrawn: true),
    ]
    let read = try CoordinatorFrame(validating: frame.wire { _ in 1 }) { $0 == 1 ? sonnet : nil }
    #expect(read.grants == frame.grants && read.refusals == frame.refusals && read.answers == frame.answers)
    #expect(read.shares.map(\.share) == [share] && read.lease == frame.lease && read.drains == frame.drains)
    let group = GroupConfiguration(
      modelGroup: "m", organization: "o", models: ["m-*"],
      budget: BudgetConfiguration(limits: .init(requests: 5, inputTokens: nil, inputTokensTotal: nil, outputTokens: 9)))
    let welcome = CoordinatorWelcome(coordinator: "c", lease: .seconds(15), groups: [group])
    let back = try CoordinatorWelcome(validating: welcome.wire)
    #expect(back.groups[0].budget.limits == group.budget.limits && back.groups[0].models == ["m-*"])
    #expect(back.lease == .seconds(15) && back.coordinator == "c")
  }

  @Test("Fields that this version doesn't know are passed over")
  func unknownFields() throws {
    // Field 99, a string, in front of a frame with one cancellation of group 1.
    var bytes: [UInt8] = [0x9A, 0x06, 0x02, 0x68, 0x69]
    var numbers = GroupNumbers()
    var frame = WorkerFrame()
    frame.cancellations = [NumberNote(group: sonnet, number: 3)]
    let known: [UInt8] = try frame.wire(numbers: &numbers, now: .zero).serializedBytes()
    bytes += known
    var table = GroupTable()
    let read = try WorkerFrame(
      validating: WireWorkerFrame(serializedBytes: bytes), table: &table, identity: identity, now: .zero)
    #expect(read.cancellations == frame.cancellations)
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var violation: ProtocolViolation
    var change: @Sendable (inout WireWorkerFrame) -> Void
  }

  static let faults: [Fault] = [
    Fault(testDescription: "a group that was never defined", violation: .unknownGroup(7)) {
      $0.cancellations = [
        .with {
          $0.group = 7; $0.number = 1
        }
      ]
    },
    Fault(testDescription: "a request without a number", violation: .zeroNumber) {
      $0.requests = [.with { $0.group = 1 }]
    },
    Fault(
      testDescription: "too many requests",
      violation: .tooMany("frame.requests", count: ProtocolLimits.entries + 1, limit: ProtocolLimits.entries)
    ) {
      $0.requests = (0...ProtocolLimits.entries).map { number in
        .with {
          $0.group = 1; $0.number = UInt64(number + 1)
        }
      }
    },
    Fault(
      testDescription: "a model of a kilobyte",
      violation: .tooLong("request.model", bytes: 1_024, limit: ProtocolLimits.labelBytes)
    ) {
      $0.requests = [
        .with {
          $0.group = 1; $0.number = 1; $0.model = String(repeating: "m", count: 1_024)
        }
      ]
    },
    Fault(testDescription: "a kind of rejection that means nothing", violation: .unknownValue("rejection.kind")) {
      $0.rejections = [
        .with {
          $0.group = 1; $0.number = 1; $0.kind = .UNRECOGNIZED(9)
        }
      ]
    },
    Fault(testDescription: "a group number given twice", violation: .groupTwice(1)) {
      $0.groups.append($0.groups[0])
    },
    Fault(testDescription: "a group with a line feed", violation: .badName("group.workspace")) {
      $0.groups[0].key.workspace = "a\nb"
    },
  ]

  @Test("What is wrong in a frame is told", arguments: faults)
  func violations(_ fault: Fault) {
    var wire = WireWorkerFrame.with {
      $0.groups = [
        .with {
          $0.index = 1; $0.key.organization = "org"; $0.key.modelGroup = "m"
        }
      ]
    }
    fault.change(&wire)
    var table = GroupTable()
    #expect(throws: fault.violation) {
      _ = try WorkerFrame(validating: wire, table: &table, identity: identity, now: .zero)
    }
  }

  @Test("A hello of another version, without a name, or with a name that isn't one is refused")
  func badHellos() {
    func read(_ change: (inout WireHello) -> Void) throws -> WorkerHello {
      var numbers = GroupNumbers()
      var wire = WorkerHello(identity: identity).wire(numbers: &numbers, now: .zero)
      change(&wire)
      var table = GroupTable()
      return try WorkerHello(validating: wire, table: &table, now: .zero)
    }
    #expect(throws: Never.self) { try read { _ in } }
    #expect(throws: ProtocolViolation.version(2)) { try read { $0.protocolVersion = 2 } }
    #expect(throws: ProtocolViolation.missing("hello.identity")) { try read { $0.clearIdentity() } }
    #expect(throws: ProtocolViolation.badName("identity.pod")) { try read { $0.identity.pod = "a/b" } }
    #expect(throws: ProtocolViolation.badName("identity.namespace")) { try read { $0.identity.namespace = "" } }
  }

  @Test("A frame beyond the bounds goes in parts, and no cancellation overtakes its request")
  func parts() {
    var frame = WorkerFrame()
    frame.requests = (1...2_500).map { RequestNote(group: sonnet, request: request(UInt64($0), of: identity)) }
    frame.cancellations = [NumberNote(group: sonnet, number: 2_500)]
    frame.isGoodbye = true
    var parts: [WorkerFrame] = []
    while !frame.isEmpty { parts.append(frame.takePart()) }
    #expect(parts.map(\.requests.count) == [1_024, 1_024, 452])
    #expect(parts.map(\.cancellations.count) == [0, 0, 1])
    #expect(parts.map(\.isGoodbye) == [false, false, true])
  }

  @Test("A name that is too long or has control characters is made safe before it is sent")
  func safeNames() throws {
    var frame = WorkerFrame()
    var long = request(1, of: identity)
    long.model = "m\u{1}" + String(repeating: "ü", count: 500)
    frame.requests = [RequestNote(group: sonnet, request: long)]
    var numbers = GroupNumbers()
    var table = GroupTable()
    let read = try WorkerFrame(
      validating: frame.wire(numbers: &numbers, now: .zero), table: &table, identity: identity, now: .zero)
    #expect(read.requests[0].request.model == "m" + String(repeating: "ü", count: 63))
  }
}
