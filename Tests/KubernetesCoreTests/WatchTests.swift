import KubernetesCore
import Testing

@Suite("Watch frames")
struct WatchFrameTests {
  static let documents: [[UInt8]] = ["{\"a\":1}", "{}", "{\"b\":\"ü\"}"].map { Array($0.utf8) }

  static func stream(_ framing: WatchFrameDecoder.Framing) -> [UInt8] {
    switch framing {
    case .newlineDelimited: documents.flatMap { $0 + [0x0A] }
    case .lengthDelimited: documents.flatMap { [0, 0, 0, UInt8($0.count)] + $0 }
    }
  }

  @Test(
    "Frames come out whole wherever the stream is split",
    arguments: [WatchFrameDecoder.Framing.newlineDelimited, .lengthDelimited])
  func splitsAnywhere(_ framing: WatchFrameDecoder.Framing) throws {
    let bytes = Self.stream(framing)
    for first in 0...bytes.count {
      for second in first...bytes.count {
        var decoder = WatchFrameDecoder(framing: framing)
        var frames = try decoder.feed(bytes[..<first])
        frames += try decoder.feed(bytes[first..<second])
        frames += try decoder.feed(bytes[second...])
        #expect(frames == Self.documents)
        #expect(decoder.pendingBytes == 0)
      }
    }
    var decoder = WatchFrameDecoder(framing: framing)
    var frames: [[UInt8]] = []
    for byte in bytes { frames += try decoder.feed([byte]) }
    #expect(frames == Self.documents)
  }

  @Test("Blank lines and carriage returns aren't frames; a cut frame stays pending")
  func toleratesBlankLines() throws {
    var decoder = WatchFrameDecoder(contentType: "application/json")
    #expect(try decoder.feed(Array("\n\r\n{}\r\n{\"a\"".utf8)) == [Array("{}".utf8)])
    #expect(decoder.pendingBytes == 4)
  }

  @Test("A frame beyond the limit is an error before it is collected")
  func boundsFrames() throws {
    var lines = WatchFrameDecoder(framing: .newlineDelimited, maximumFrameBytes: 8)
    #expect(try lines.feed(Array("12345678\n".utf8)).count == 1)
    #expect(throws: KubernetesError.self) { try lines.feed(Array("123456789".utf8)) }
    var framed = WatchFrameDecoder(
      contentType: "application/vnd.kubernetes.protobuf;stream=watch", maximumFrameBytes: 8)
    #expect(throws: KubernetesError.self) { try framed.feed([0x7F, 0xFF, 0xFF, 0xFF]) }
  }

  @Test("A long frame in many chunks, then many short ones in one, all come out")
  func longAndShort() throws {
    var decoder = WatchFrameDecoder(framing: .newlineDelimited)
    let chunk = [UInt8](repeating: 0x78, count: 1_000)
    for _ in 0..<1_000 { #expect(try decoder.feed(chunk).isEmpty) }
    let frames = try decoder.feed(Array(("\n" + String(repeating: "{}\n", count: 10_000)).utf8))
    #expect(frames.count == 10_001)
    #expect(frames[0].count == 1_000_000)
  }

  @Test("Events decode by their type; an unknown type is an error")
  func decodesEvents() throws {
    func event(_ json: String) throws -> WatchEvent<PartialObjectMetadata> {
      try KubernetesJSON.decode(WatchEvent<PartialObjectMetadata>.self, from: Array(json.utf8))
    }
    let object = PartialObjectMetadata(metadata: ObjectMeta(name: "a", resourceVersion: "5"))
    let json = #"{"kind":"Pod","metadata":{"name":"a","resourceVersion":"5","labels":null}}"#
    #expect(try event(#"{"type":"ADDED","object":\#(json)}"#) == .added(object))
    #expect(try event(#"{"type":"MODIFIED","object":\#(json)}"#) == .modified(object))
    #expect(try event(#"{"type":"DELETED","object":\#(json)}"#) == .deleted(object))
    #expect(
      try event(#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","creationTimestamp":null}}}"#)
        == .bookmark(resourceVersion: "9", endsInitialEvents: false))
    #expect(
      try event(
        #"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#
      ) == .bookmark(resourceVersion: "9", endsInitialEvents: true))
    #expect(
      try event(#"{"type":"ERROR","object":{"status":"Failure","code":410,"reason":"Expired"}}"#)
        == .error(APIStatus(reason: "Expired", code: 410)))
    #expect(throws: KubernetesError.self) { try event(#"{"type":"FOO","object":{}}"#) }
  }
}

@Suite("Watch state machine")
struct WatchStateMachineTests {
  static func at(_ seconds: Int64) -> MonotonicTime { MonotonicTime(sinceOrigin: .seconds(seconds)) }

  static let expired = KubernetesError(.expired, "too old", httpStatus: 410, reason: "Expired")

  /// A machine with an open stream from version 10, opened at second 0.
  static func watching(_ configuration: WatchStateMachine.Configuration = .init()) -> WatchStateMachine {
    var machine = WatchStateMachine(configuration: configuration)
    _ = machine.start()
    _ = machine.listed(ListMeta(resourceVersion: "10"), jitter: 0, now: at(0))
    _ = machine.streamOpened(now: at(0))
    return machine
  }

  static func wait(_ action: WatchStateMachine.Action) -> MonotonicTime? {
    if case .wait(let until) = action { until } else { nil }
  }

  @Test("A list goes page by page, then a watch begins at the list's version")
  func pages() {
    var machine = WatchStateMachine(configuration: .init(pageSize: 2))
    #expect(machine.start() == .list(.init(isFirstPage: true, limit: 2, continueToken: nil, resourceVersion: nil)))
    #expect(
      machine.listed(ListMeta(resourceVersion: "10", continueToken: "t"), jitter: 0, now: Self.at(0))
        == .list(.init(isFirstPage: false, limit: 2, continueToken: "t", resourceVersion: nil)))
    let request = WatchStateMachine.WatchRequest(
      resourceVersion: "10", timeout: .seconds(300), idleTimeout: .seconds(150))
    #expect(
      machine.listed(ListMeta(resourceVersion: "10"), jitter: 0, now: Self.at(1)) == .finishListAndWatch(request))
    #expect(machine.streamOpened(now: Self.at(2)) == .read)
    #expect(machine.event(.version("12"), jitter: 0, now: Self.at(3)) == .read)
    #expect(machine.resourceVersion == "12")
    #expect(machine.nextDeadline == Self.at(153))
  }

  @Test("A first list may come from the server's memory, later ones may not")
  func staleFirstList() {
    var machine = WatchStateMachine(configuration: .init(allowsStaleFirstList: true))
    #expect(machine.start() == .list(.init(isFirstPage: true, limit: nil, continueToken: nil, resourceVersion: "0")))
    _ = machine.listed(ListMeta(resourceVersion: "10"), jitter: 0, now: Self.at(0))
    #expect(
      machine.failed(Self.expired, jitter: 0, now: Self.at(0))
        == .list(.init(isFirstPage: true, limit: 500, continueToken: nil, resourceVersion: nil)))
  }

  @Test("A page that expires restarts the list in one piece, once")
  func expiredPage() {
    var machine = WatchStateMachine()
    _ = machine.start()
    _ = machine.listed(ListMeta(resourceVersion: "10", continueToken: "t"), jitter: 0, now: Self.at(0))
    let whole = WatchStateMachine.ListRequest(isFirstPage: true, limit: nil, continueToken: nil, resourceVersion: nil)
    #expect(machine.failed(Self.expired, jitter: 0, now: Self.at(1)) == .list(whole))
    // A server that answers 410 even then isn't asked in a hot loop.
    #expect(Self.wait(machine.failed(Self.expired, jitter: 0, now: Self.at(1))) != nil)
  }

  @Test("A failed page is asked for again after a wait, with the pages before it kept")
  func failedPage() throws {
    var machine = WatchStateMachine()
    _ = machine.start()
    _ = machine.listed(ListMeta(resourceVersion: "10", continueToken: "t"), jitter: 0, now: Self.at(0))
    let until = try #require(
      Self.wait(machine.failed(KubernetesError(.serverFailure, "no"), jitter: .max, now: Self.at(1))))
    #expect(machine.deadline(jitter: 0, now: Self.at(1)) == .wait(until: until))
    #expect(
      machine.deadline(jitter: 0, now: until)
        == .list(.init(isFirstPage: false, limit: 500, continueToken: "t", resourceVersion: nil)))
  }

  @Test(
    "A stream that lived ends without a wait and resumes after the last version",
    arguments: [
      WatchStateMachine.StreamEnd.closedByServer, .idle, .failed(KubernetesError(.unreachable, "reset")),
    ])
  func resumes(_ end: WatchStateMachine.StreamEnd) {
    var machine = Self.watching()
    _ = machine.event(.version("17"), jitter: 0, now: Self.at(5))
    #expect(
      machine.streamEnded(end, jitter: 1 << 31, now: Self.at(60))
        == .watch(.init(resourceVersion: "17", timeout: .seconds(375), idleTimeout: .seconds(150))))
    #expect(machine.consecutiveFailures == 0)
    #expect(machine.listCount == 1)
  }

  @Test("A server that closes streams at once is asked at growing intervals, up to the limit")
  func noHotLoop() throws {
    var machine = Self.watching()
    var now = Self.at(0)
    var waits: [Duration] = []
    for _ in 0..<10 {
      let until = try #require(Self.wait(machine.streamEnded(.closedByServer, jitter: .max, now: now)))
      waits.append(until - now)
      now = until
      guard case .watch = machine.deadline(jitter: 0, now: now) else {
        Issue.record("a watch was expected")
        return
      }
      _ = machine.streamOpened(now: now)
      // Even a stream that brings something each time.
      _ = machine.event(.version("18"), jitter: 0, now: now)
    }
    #expect(zip(waits, waits.dropFirst()).allSatisfy { $0 <= $1 })
    #expect(waits[0] > .milliseconds(799) && waits[0] <= .milliseconds(800))
    #expect(waits[9] > .seconds(29) && waits[9] <= .seconds(30))
    // A stream that lives resets the wait.
    _ = machine.event(.version("19"), jitter: 0, now: now + .seconds(2))
    #expect(machine.consecutiveFailures == 0)
  }

  @Test("Jitter takes away at most half of a wait", arguments: [UInt32(0), 1 << 30, 1 << 31, .max])
  func jitter(_ jitter: UInt32) throws {
    var machine = Self.watching()
    let until = try #require(Self.wait(machine.streamEnded(.closedByServer, jitter: jitter, now: Self.at(0))))
    #expect(until >= MonotonicTime(sinceOrigin: .milliseconds(400)))
    #expect(until <= MonotonicTime(sinceOrigin: .milliseconds(800)))
  }

  @Test("410 in the stream or on opening lists the newest state at once, and with a wait when it happens again")
  func relists() throws {
    let fresh = WatchStateMachine.ListRequest(isFirstPage: true, limit: 500, continueToken: nil, resourceVersion: nil)
    var machine = Self.watching()
    #expect(
      machine.event(.error(APIStatus(reason: "Expired", code: 410)), jitter: 0, now: Self.at(9)) == .list(fresh))
    _ = machine.listed(ListMeta(resourceVersion: "20"), jitter: 0, now: Self.at(10))
    let until = try #require(Self.wait(machine.failed(Self.expired, jitter: 0, now: Self.at(10))))
    #expect(machine.deadline(jitter: 0, now: until) == .list(fresh))
    #expect(machine.listCount == 3)
    _ = machine.listed(ListMeta(resourceVersion: "30"), jitter: 0, now: until)
    _ = machine.streamOpened(now: until)
    _ = machine.event(.version("31"), jitter: 0, now: until + .seconds(5))
    #expect(machine.failed(Self.expired, jitter: 0, now: until + .seconds(6)) == .ignore)
    #expect(
      machine.event(.error(APIStatus(code: 410)), jitter: 0, now: until + .seconds(6)) == .list(fresh))
  }

  @Test("The server's Retry-After is waited for, from responses and from the stream")
  func retryAfter() throws {
    var machine = Self.watching()
    let status = APIStatus(details: .init(retryAfterSeconds: 20), code: 429)
    let until = try #require(Self.wait(machine.event(.error(status), jitter: 0, now: Self.at(5))))
    #expect(until == Self.at(25))
    guard case .watch(let request) = machine.deadline(jitter: 0, now: until) else {
      Issue.record("a watch was expected")
      return
    }
    #expect(request.resourceVersion == "10")
    let busy = KubernetesError(.tooManyRequests, "busy", retryAfter: .seconds(60))
    #expect(Self.wait(machine.failed(busy, jitter: 0, now: until)) == until + .seconds(60))
  }

  @Test("What only a person can mend is asked for at the longest interval, and shown")
  func terminalErrors() throws {
    var machine = WatchStateMachine()
    _ = machine.start()
    let forbidden = KubernetesError(.forbidden, "no")
    let until = try #require(Self.wait(machine.failed(forbidden, jitter: .max, now: Self.at(0))))
    #expect(until - Self.at(0) > .seconds(29))
    #expect(machine.lastError == forbidden)
  }

  @Test("A silent stream is given up at its idle limit")
  func idle() {
    var machine = Self.watching()
    _ = machine.event(.version("11"), jitter: 0, now: Self.at(100))
    #expect(machine.deadline(jitter: 0, now: Self.at(249)) == .read)
    #expect(
      machine.deadline(jitter: 0, now: Self.at(250))
        == .watch(.init(resourceVersion: "11", timeout: .seconds(300), idleTimeout: .seconds(150))))
  }

  @Test("A list without a version is an error, not a watch from nowhere")
  func listWithoutVersion() {
    var machine = WatchStateMachine()
    _ = machine.start()
    #expect(Self.wait(machine.listed(ListMeta(), jitter: 0, now: Self.at(0))) != nil)
    #expect(machine.lastError?.code == .malformedResponse)
  }

  @Test("Reports that don't belong to the state change nothing")
  func ignores() {
    var machine = WatchStateMachine()
    #expect(machine.event(.version("1"), jitter: 0, now: Self.at(0)) == .ignore)
    #expect(machine.streamEnded(.idle, jitter: 0, now: Self.at(0)) == .ignore)
    #expect(machine.listed(ListMeta(resourceVersion: "1"), jitter: 0, now: Self.at(0)) == .ignore)
    #expect(machine.deadline(jitter: 0, now: Self.at(0)) == .ignore)
    #expect(machine.state == .idle)
  }
}
