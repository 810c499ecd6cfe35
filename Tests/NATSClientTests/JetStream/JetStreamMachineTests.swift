import NATSTestSupport
import NIOCore
import Testing

@testable import NATSClient

@Suite struct PullAnswerTests {
  private static let completed = NATSStatus(code: 409, description: "Batch Completed")

  @Test("A pull's end that comes before its messages is no end: they are waited for, and no more than were sent")
  func overtaken() {
    var answer = PullAnswer(batch: 5)
    #expect(answer.status(Self.completed, unfilled: 2) == .wait)
    #expect(answer.wanted == 3 && !answer.isComplete)
    for _ in 0..<2 {
      answer.message()
      #expect(!answer.isComplete)
    }
    answer.message()
    #expect(answer.isComplete)
  }

  @Test(
    "What ends a pull after one of four messages, and whether more may be on its way",
    arguments: [
      (NATSStatus(code: 404, description: "No Messages"), nil as Int?, PullAnswer.Outcome.done, true),
      (NATSStatus(code: 408, description: "Request Timeout"), 3, .done, true),
      (NATSStatus(code: 408, description: "Request Timeout"), 2, .wait, false),
      (completed, 3, .done, true),
      (NATSStatus(code: 409, description: "Message Size Exceeds MaxBytes"), 3, .refused, true),
      (NATSStatus(code: 409, description: "Leadership Change"), 1, .refused, false),
      (NATSStatus(code: 409, description: "Consumer Deleted"), nil, .refused, false),
      (NATSStatus(code: NATSStatus.noResponders, description: ""), nil, .refused, true),
      (NATSStatus(code: NATSStatus.reconnected, description: ""), nil, .disconnected, true),
      (NATSStatus(code: NATSStatus.idle, description: ""), nil, .wait, false),
    ])
  func ends(_ status: NATSStatus, _ unfilled: Int?, _ outcome: PullAnswer.Outcome, _ isComplete: Bool) {
    var answer = PullAnswer(batch: 4)
    answer.message()
    #expect(answer.status(status, unfilled: unfilled) == outcome)
    #expect(answer.isComplete == isComplete)
  }
}

@Suite struct PullMachineTests {
  @Test("Half of a batch may come before more is ordered, and never more than a batch is on order")
  func ordering() {
    var machine = PullMachine(batch: 10)
    #expect(machine.next() == .init(messages: 10, bytes: nil))
    #expect(machine.next() == nil)
    for _ in 0..<4 { _ = machine.handle(.message(bytes: 1)) }
    #expect(machine.next() == nil)
    _ = machine.handle(.message(bytes: 1))
    #expect(machine.next() == .init(messages: 5, bytes: nil))
    #expect(machine.ordered == 10)
  }

  @Test(
    "What a status takes back, and whether it is the end",
    arguments: [
      (NATSStatus(code: 408, description: "Request Timeout"), 4 as Int?, PullMachine.Outcome.none, 6),
      (NATSStatus(code: 404, description: "No Messages"), nil, .none, 0),
      (NATSStatus(code: 100, description: "Idle Heartbeat"), nil, .none, 10),
      (NATSStatus(code: 503, description: ""), nil, .unavailable, 0),
      (NATSStatus(code: 409, description: "Leadership Change"), 3, .unavailable, 7),
      (NATSStatus(code: 409, description: "Server Shutdown"), nil, .unavailable, 0),
      (NATSStatus(code: 409, description: "Message Size Exceeds MaxBytes"), 2, .none, 8),
      (NATSStatus(code: 423, description: "Nats-Wrong-Pin-Id"), nil, .none, 0),
    ])
  func statuses(status: NATSStatus, pending: Int?, outcome: PullMachine.Outcome, left: Int) {
    var machine = PullMachine(batch: 10)
    _ = machine.next()
    #expect(machine.handle(.status(status, pendingMessages: pending, pendingBytes: nil)) == outcome)
    #expect(machine.ordered == left)
  }

  @Test("A consumer that is gone, or refuses, is the end")
  func failures() {
    for (code, text) in [(409, "Consumer Deleted"), (409, "Exceeded MaxWaiting"), (400, "Bad Request")] {
      var machine = PullMachine(batch: 10)
      let status = NATSStatus(code: code, description: text)
      #expect(machine.handle(.status(status, pendingMessages: nil, pendingBytes: nil)) == .failed(status))
    }
  }

  @Test("A new connection and a suspicious silence order anew")
  func anew() {
    for event in [PullMachine.Event.reconnected, .silence] {
      var machine = PullMachine(batch: 10, maximumBytes: 100)
      _ = machine.next()
      #expect(machine.next() == nil)
      _ = machine.handle(event)
      #expect(machine.next() == .init(messages: 10, bytes: 100))
    }
  }
}

@Suite struct OrderedMachineTests {
  private func metadata(_ consumer: String, _ consumerSequence: Int, _ stream: Int) throws -> MessageMetadata {
    try #require(MessageMetadata(reply: "$JS.ACK.S.\(consumer).1.\(stream).\(consumerSequence).0.0"))
  }

  @Test("What is next is delivered, what is old is ignored, what is missing is a gap")
  func order() throws {
    var machine = OrderedMachine()
    machine.began(consumer: "a")
    #expect(machine.received(try metadata("a", 1, 10)) == .deliver)
    #expect(machine.received(try metadata("a", 1, 10)) == .ignore)
    #expect(machine.received(try metadata("a", 3, 12)) == .gap)
    machine.began(consumer: "b")
    #expect(machine.received(try metadata("a", 2, 11)) == .ignore)
    #expect(machine.received(try metadata("b", 1, 11)) == .deliver)
    #expect(machine.received(try metadata("b", 2, 11)) == .ignore)
    #expect(machine.lastSequence == 11)
  }
}

@Suite struct JetStreamValueTests {
  @Test("Both forms of the reply subject are read")
  func metadata() throws {
    let old = try #require(MessageMetadata(reply: "$JS.ACK.S.c.2.30.4.1700000000000000000.7"))
    #expect(
      old.stream == "S" && old.consumer == "c" && old.deliveries == 2 && old.streamSequence == 30
        && old.consumerSequence == 4 && old.pending == 7 && old.domain == nil)
    let new = try #require(MessageMetadata(reply: "$JS.ACK.hub.ACC.S.c.2.30.4.17.7.rnd"))
    #expect(new.domain == "hub" && new.stream == "S" && new.streamSequence == 30)
    #expect(MessageMetadata(reply: "$JS.ACK._.ACC.S.c.2.30.4.17.7")?.domain == nil)
    for bad in ["", "_INBOX.a.b", "$JS.ACK.S.c.x.30.4.17.7", "$JS.ACK.S.c.1.2.3.4.5.6"] {
      #expect(MessageMetadata(reply: bad) == nil)
    }
  }

  @Test("Options become the headers that the server knows")
  func options() {
    var options = PublishOptions(messageID: "m")
    options.expectedLastSubjectSequence = 0
    options.timeToLive = .milliseconds(1500)
    options.increment = 3
    options.schedule = .init(at: .seconds(1_700_000_000) + .milliseconds(5), target: "t")
    var headers = NATSHeaders()
    options.apply(to: &headers)
    #expect(headers["Nats-Msg-Id"] == "m" && headers["Nats-Expected-Last-Subject-Sequence"] == "0")
    #expect(headers["Nats-TTL"] == "2s" && headers["Nats-Incr"] == "+3")
    #expect(headers["Nats-Schedule"] == "@at 2023-11-14T22:13:20.005000000Z" && headers["Nats-Schedule-Target"] == "t")
  }

  @Test(
    "Times are written as RFC 3339",
    arguments: [
      (0, "1970-01-01T00:00:00.000000000Z"), (951_782_400, "2000-02-29T00:00:00.000000000Z"),
      (4_102_444_799, "2099-12-31T23:59:59.000000000Z"), (-1, "1969-12-31T23:59:59.000000000Z"),
    ])
  func times(seconds: Int, text: String) { #expect(RFC3339.text(sinceEpoch: .seconds(seconds)) == text) }

  @Test("Only what can be said twice is sent twice after a lost answer")
  func repetition() {
    #expect(!PublishOptions().isRepeatable && PublishOptions(messageID: "m").isRepeatable)
    #expect(NATSError(.connectionLost, "").disposition == .retryIfIdempotent)
    #expect(JetStreamError(code: 503, errorCode: 10008, message: "").disposition == .retryIfIdempotent)
    #expect(
      JetStreamError(code: 400, errorCode: JetStreamError.wrongLastSequence, message: "").disposition == .terminal)
  }
}
