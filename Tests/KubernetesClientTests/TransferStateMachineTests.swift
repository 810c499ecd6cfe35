import KubernetesCore
import Testing

@testable import KubernetesClient

@Suite("The transport's pure parts")
struct TransferStateMachineTests {
  private typealias Machine = TransferStateMachine<Int>
  private let head = APIResponseHead(status: 200)

  private func receive(_ text: String, _ machine: inout Machine) -> Machine.ReceiveDecision {
    Array(text.utf8).withUnsafeBytes { machine.received($0) }
  }

  private func pulled(_ machine: inout Machine, _ waiter: Int = 1) -> String {
    switch machine.pull(waiter) {
    case .wait: "wait"
    case .deliver(let delivery, let resumes): text(delivery) + (resumes ? ", resume" : "")
    }
  }

  private func text(_ delivery: TransferDelivery?) -> String {
    switch delivery {
    case nil: "nobody"
    case .head(let head): "head \(head.status)"
    case .bytes(let bytes): String(decoding: bytes, as: UTF8.self)
    case .response(let response): "\(response.head.status) \(String(decoding: response.body, as: UTF8.self))"
    case .end: "end"
    case .failure(let error): error is CancellationError ? "cancelled" : "\(error)"
    }
  }

  @Test("A stream gives its head, the pieces together that arrived meanwhile, and the end again and again")
  func stream() {
    var machine = Machine(mode: .stream(highWaterBytes: 100))
    #expect(pulled(&machine) == "wait")
    #expect(text(machine.receivedHead(head)?.delivery) == "head 200")
    _ = receive("ab", &machine)
    _ = receive("cd", &machine)
    #expect(pulled(&machine) == "abcd")
    #expect(machine.finished(nil)?.waiter == nil)
    #expect(pulled(&machine) == "end")
    #expect(pulled(&machine) == "end")
  }

  @Test("A stream over its bound pauses, and resumes when its consumer has taken what waits")
  func backPressure() {
    var machine = Machine(mode: .stream(highWaterBytes: 3))
    _ = machine.receivedHead(head)
    // A first piece is taken whatever its size, or a large one would never be.
    guard case .accepted = receive("abcdef", &machine) else {
      Issue.record("not accepted")
      return
    }
    guard case .pause = receive("g", &machine) else {
      Issue.record("not paused")
      return
    }
    #expect(pulled(&machine) == "head 200")
    #expect(pulled(&machine) == "abcdef, resume")
    #expect(pulled(&machine) == "wait")
    guard case .accepted(let wake) = receive("g", &machine) else {
      Issue.record("not accepted")
      return
    }
    #expect(text(wake?.delivery) == "g")
  }

  @Test("A failure comes after the pieces that arrived before it")
  func failureLast() {
    var machine = Machine(mode: .stream(highWaterBytes: 10))
    _ = machine.receivedHead(head)
    _ = receive("ab", &machine)
    _ = machine.finished(KubernetesError(.unreachable, "broke"))
    #expect([pulled(&machine), pulled(&machine), pulled(&machine)] == ["head 200", "ab", "broke"])
  }

  @Test("Collecting gives one whole response, within its bound")
  func collect() {
    var machine = Machine(mode: .collect(maximumBytes: 4))
    #expect(pulled(&machine) == "wait")
    #expect(machine.receivedHead(head)?.waiter == nil)
    _ = receive("abcd", &machine)
    guard case .tooLarge = receive("e", &machine) else {
      Issue.record("not refused")
      return
    }
    #expect(text(machine.finished(nil)?.delivery) == "200 abcd")
  }

  @Test("Giving up wakes the waiter, drops what waits and refuses what comes")
  func abandon() {
    var machine = Machine(mode: .stream(highWaterBytes: 10))
    _ = machine.receivedHead(head)
    _ = receive("ab", &machine)
    let first = machine.abandon()
    #expect(first.wake?.waiter == nil)
    #expect(first.wasRunning)
    #expect(pulled(&machine) == "cancelled")
    guard case .abandoned = receive("c", &machine) else {
      Issue.record("not refused")
      return
    }
    #expect(!machine.abandon().wasRunning)
  }

  @Test("A second consumer gets an error instead of stealing the first one's piece")
  func secondConsumer() {
    var machine = Machine(mode: .stream(highWaterBytes: 10))
    #expect(pulled(&machine, 1) == "wait")
    #expect(pulled(&machine, 2).contains("one consumer"))
    #expect(machine.receivedHead(head)?.waiter == 1)
  }

  @Test(
    "A head is put together from its lines; heads on the way and trailers don't count",
    arguments: [
      (["HTTP/1.1 200 OK\r\n", "A: 1\r\n", "b:2 \r\n", "\r\n"], "200 A=1 b=2"),
      (["HTTP/1.1 100 Continue\r\n", "\r\n", "HTTP/2 201 \r\n", "\r\n", "Trailer: x\r\n"], "201"),
      (["SSH-2.0\r\n"], "malformed"), (["HTTP/1.1 2000 OK\r\n"], "malformed"),
      (["HTTP/1.1 200 OK\r\n", "no field\r\n"], "malformed"), (["HTTP/1.1 200 OK\r\n", ": x\r\n"], "malformed"),
      (["HTTP/1.1 200 OK\r\n", "X: " + String(repeating: "f", count: 100) + "\r\n"], "tooLarge"),
    ])
  func headParser(lines: [String], expected: String) {
    var parser = ResponseHeadParser(maximumBytes: 100)
    var result = "more"
    for line in lines {
      switch parser.receive(line: Array(line.utf8)) {
      case .more: break
      case .head(let head):
        result = ([String(head.status)] + head.headers.map { "\($0.name)=\($0.value)" }).joined(separator: " ")
      case .tooLarge: result = "tooLarge"
      case .malformed: result = "malformed"
      }
    }
    #expect(result == expected)
  }

  @Test("Deadlines: a collected response has one for all, a stream one for its head and then one for silence")
  func deadlines() {
    let start = MonotonicTime(sinceOrigin: .seconds(100))
    var whole = TransferDeadlines(
      mode: .collect(maximumBytes: 1), timeout: .seconds(5), idleTimeout: .seconds(1), now: start)
    whole.receivedHead(now: start + .seconds(4))
    #expect(whole.expiry(now: start + .milliseconds(4999)) == nil)
    #expect(whole.expiry(now: start + .seconds(5)) == .whole(.seconds(5)))

    var stream = TransferDeadlines(
      mode: .stream(highWaterBytes: 1), timeout: .seconds(5), idleTimeout: .seconds(2), now: start)
    #expect(stream.expiry(now: start + .seconds(5)) == .head(.seconds(5)))
    stream.receivedHead(now: start + .seconds(4))
    #expect(stream.expiry(now: start + .milliseconds(5999)) == nil)
    #expect(stream.expiry(now: start + .seconds(6)) == .idle(.seconds(2)))
    stream.receivedBytes(now: start + .seconds(6))
    #expect(stream.next == start + .seconds(8))
    stream.paused()
    #expect(stream.next == nil)
    #expect(stream.expiry(now: start + .seconds(600)) == nil)
    stream.resumed(now: start + .seconds(600))
    #expect(stream.next == start + .seconds(602))
  }

  @Test("A stream without an idle limit has no deadline after its head")
  func noIdleLimit() {
    let start = MonotonicTime(sinceOrigin: .zero)
    var stream = TransferDeadlines(mode: .stream(highWaterBytes: 1), timeout: .seconds(5), idleTimeout: nil, now: start)
    stream.receivedHead(now: start)
    #expect(stream.next == nil)
  }

  @Test(
    "Server URLs are taken apart",
    arguments: [
      ("https://10.0.0.1:6443", "https 10.0.0.1 6443 ", "https://10.0.0.1:6443"),
      ("https://[fd00::1]/", "https [fd00::1] 443 ", "https://[fd00::1]"),
      (
        "HTTP://localhost:8080/k8s/clusters/c-1/", "http localhost 8080 /k8s/clusters/c-1",
        "http://localhost:8080/k8s/clusters/c-1"
      ),
    ])
  func addresses(url: String, parts: String, description: String) throws {
    let address = try ServerAddress(url)
    #expect("\(address.scheme) \(address.host) \(address.port) \(address.basePath)" == parts)
    #expect(address.description == description)
  }

  @Test(
    "A wrong server URL says what is wrong",
    arguments: [
      ("10.0.0.1:6443", "has no scheme"), ("ftp://x", "has a scheme other than https or http"),
      ("https://", "has no host"),
      ("https://fd00::1", "has an IPv6 address without brackets"), ("https://[fd00::1", "without \"]\""),
      ("https://x:0", "has a port that isn't a number from 1 to 65535"), ("https://x:+1", "has a port"),
      ("https://x y", "contains white space"), ("https://x?a=b", "has a query"),
      ("https://u:s3cret@x", "holds a user name or password"),
    ])
  func wrongAddresses(url: String, what: String) {
    let error = #expect(throws: KubernetesError.self) { try ServerAddress(url) }
    #expect(error?.code == .misconfigured)
    #expect(error?.message.contains(what) == true)
    #expect(error?.message.contains("s3cret") == false)
  }
}
