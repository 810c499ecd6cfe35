import KubernetesCore
import KubernetesRuntime
import Logging
import TestSupport
import Testing

@Suite("Events")
struct EventTests {
  private let wall = Timestamp(secondsSinceEpoch: 1_767_225_600)
  private let object = ObjectReference(apiVersion: "v1", kind: "Pod", namespace: "n", name: "a", uid: "u")

  private func at(_ seconds: Int) -> MonotonicTime { MonotonicTime(sinceOrigin: .seconds(seconds)) }

  private func occurrence(_ message: String = "m", _ object: ObjectReference? = nil) -> EventOccurrence {
    EventOccurrence(object: object ?? self.object, reason: "Scaled", message: message)
  }

  @Test("The same occurrence again counts up the Event that is there, under its name")
  func counts() throws {
    var correlator = EventCorrelator(.init(component: "c"))
    #expect(correlator.record(occurrence(), wall: wall, now: at(0), random: 255) == .queued)
    #expect(correlator.record(occurrence(), wall: wall + .seconds(1), now: at(1), random: 1) == .merged)
    guard case .create(let event) = correlator.next() else {
      Issue.record("expected a create")
      return
    }
    #expect(event.metadata.name == "a.00000000000000ff")
    #expect(event.metadata.namespace == "n")
    #expect(event.count == 2)
    #expect(event.reportingComponent == "c")
    #expect(correlator.next() == nil)
    // Meanwhile it happens again: that must not get lost while the first write is under way.
    #expect(correlator.record(occurrence(), wall: wall + .seconds(2), now: at(2), random: 1) == .queued)
    correlator.finish(.written, random: 0)
    #expect(
      correlator.next()
        == .count(
          ObjectKey(namespace: "n", name: "a.00000000000000ff"), count: 3, lastTimestamp: wall + .seconds(2)))
    // The server has forgotten it: create anew.
    correlator.finish(.gone, random: 16)
    guard case .create(let again) = correlator.next() else {
      Issue.record("expected a create")
      return
    }
    #expect(again.metadata.name == "a.0000000000000010")
  }

  @Test("An object has 25 occurrences at once and one per five minutes; others have their own")
  func rateLimit() {
    var correlator = EventCorrelator(.init(component: "c"))
    for _ in 0..<25 {
      #expect(correlator.record(occurrence(), wall: wall, now: at(0), random: 0) != .rateLimited)
    }
    #expect(correlator.record(occurrence(), wall: wall, now: at(299), random: 0) == .rateLimited)
    #expect(correlator.record(occurrence(), wall: wall, now: at(300), random: 0) != .rateLimited)
    #expect(correlator.record(occurrence(), wall: wall, now: at(300), random: 0) == .rateLimited)
    let other = ObjectReference(kind: "Pod", namespace: "n", name: "b")
    #expect(correlator.record(occurrence("m", other), wall: wall, now: at(300), random: 0) == .queued)
    #expect(correlator.metrics.rateLimited == 2)
  }

  @Test("Many different messages of one reason become one combined Event")
  func aggregation() {
    var correlator = EventCorrelator(.init(component: "c"))
    for number in 0..<20 {
      _ = correlator.record(occurrence("m\(number)"), wall: wall, now: at(0), random: UInt64(number))
    }
    var messages: [String] = []
    while case .create(let event) = correlator.next() {
      messages.append("\(event.count) \(event.message)")
      correlator.finish(.written, random: 0)
    }
    #expect(messages.count == 11)
    #expect(messages.last == "10 (combined from similar events): m19")
  }

  @Test("What waits is bounded, failing writes end, and a failed Event doesn't hold up the next")
  func bounds() {
    var correlator = EventCorrelator(.init(component: "c", maximumPending: 2, attempts: 3))
    #expect(correlator.record(occurrence("1"), wall: wall, now: at(0), random: 1) == .queued)
    #expect(correlator.record(occurrence("2"), wall: wall, now: at(0), random: 2) == .queued)
    #expect(correlator.record(occurrence("3"), wall: wall, now: at(0), random: 3) == .overflow)
    var writes = 0
    while correlator.next() != nil {
      correlator.finish(.failed, random: 0)
      writes += 1
    }
    #expect(writes == 6)
    #expect(correlator.metrics.failed == 2)
    #expect(correlator.metrics.overflowed == 1)
  }

  @Test("Tables stay within their bound, whatever comes")
  func eviction() {
    var correlator = EventCorrelator(.init(component: "c", maximumPending: 10_000, maximumTracked: 16))
    for number in 0..<2_000 {
      let object = ObjectReference(kind: "Pod", namespace: "n", name: "p\(number)")
      _ = correlator.record(occurrence("m", object), wall: wall, now: at(number), random: UInt64(number))
      if case .create(let event) = correlator.next() {
        #expect(event.involvedObject.name == "p\(number)")
        correlator.finish(.written, random: 0)
      } else {
        Issue.record("occurrence \(number) got lost")
      }
    }
    #expect(correlator.metrics.written == 2_000)
  }

  @Test("Long messages and names are cut to the server's limits")
  func limits() {
    var correlator = EventCorrelator(.init(component: "c"))
    let long = ObjectReference(kind: "Pod", name: String(repeating: "n", count: 253))
    _ = correlator.record(occurrence(String(repeating: "é", count: 900), long), wall: wall, now: at(0), random: 0)
    guard case .create(let event) = correlator.next() else {
      Issue.record("expected a create")
      return
    }
    #expect(event.message.utf8.count <= 1_024)
    #expect(event.metadata.name.utf8.count <= 253)
    #expect(event.metadata.namespace == "default")
  }

  @Test("The recorder writes at the lowest priority, retries in time and never throws")
  func recorder() async throws {
    let time = ManualTimeSource()
    let transport = ScriptedTransport()
    let path = "/api/v1/namespaces/n/events"
    transport.expect(.post, path, .status(503, reason: "ServiceUnavailable"))
    transport.expect(.post, path, .json("{}"), where: { $0.priority == .event })
    transport.expect(.patch, "\(path)/a.0000000000000000", .json("{}"), where: { $0.priority == .event })
    transport.expect(.post, path, .status(403, reason: "Forbidden"))
    let recorder = EventRecorder(
      transport: transport, configuration: .init(component: "c"), time: time, random: { 0 },
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await recorder.run() }
      #expect(recorder.record(occurrence()) == .queued)
      #expect(await time.nextSleep() == MonotonicTime(sinceOrigin: .seconds(1)))
      time.advanceToNextSleeper()
      #expect(await transport.arrivals.next(2).map(\.method) == [.post, .post])
      while recorder.metrics.written < 1, !Task.isCancelled { await Task.yield() }
      recorder.record(occurrence())
      let patch = await transport.arrivals.next()
      #expect(String(decoding: patch.body ?? [], as: UTF8.self).contains(#""count":2"#))
      while recorder.metrics.written < 2, !Task.isCancelled { await Task.yield() }
      recorder.record(occurrence("other"))
      #expect(await transport.arrivals.next().method == .post)
      while recorder.metrics.failed < 1, !Task.isCancelled { await Task.yield() }
      group.cancelAll()
    }
    #expect(transport.unmet.isEmpty)
  }
}
