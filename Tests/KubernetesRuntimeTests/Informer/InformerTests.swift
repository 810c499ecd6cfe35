import KubernetesCore
import KubernetesRuntime
import Logging
import ServiceLifecycle
import TestSupport
import Testing

@Suite("Informer")
struct InformerTests {
  private typealias LeaseInformer = Informer<JSONInformerCodec<Lease>>

  private static let path = "/apis/coordination.k8s.io/v1/leases"
  private let time = ManualTimeSource()
  private let notifications = Inbox<InformerNotification>()

  private func transport() -> ScriptedTransport { ScriptedTransport(enforcingTimeoutsBy: time) }

  private func informer(
    _ transport: ScriptedTransport, _ configuration: WatchStateMachine.Configuration = .init(pageSize: 2)
  ) -> LeaseInformer {
    LeaseInformer(
      transport: transport, codec: JSONInformerCodec(), configuration: configuration,
      index: { [$0.spec.holderIdentity ?? ""] }, time: time, random: { 0 },
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) { [notifications] in notifications.put($0) }
  }

  private static func object(_ name: String, _ version: Int, uid: String? = nil, holder: String = "h") -> String {
    #"{"metadata":{"namespace":"n","name":"\#(name)","uid":"\#(uid ?? name)","resourceVersion":"\#(version)"},"#
      + #""spec":{"holderIdentity":"\#(holder)"}}"#
  }

  private static func page(_ items: [String], version: Int, next: String = "") -> ScriptedTransport.Answer {
    .json(
      #"{"metadata":{"resourceVersion":"\#(version)","continue":"\#(next)"},"items":[\#(items.joined(separator: ","))]}"#
    )
  }

  private static func event(_ type: String, _ object: String) -> String {
    #"{"type":"\#(type)","object":\#(object)}"# + "\n"
  }

  private static func isWatch(from version: Int) -> @Sendable (APIRequest) -> Bool {
    { request in
      request.query.contains(.init("watch", "true"))
        && request.query.contains(.init("resourceVersion", "\(version)"))
    }
  }

  private static let isList: @Sendable (APIRequest) -> Bool = { !$0.query.contains(.init("watch", "true")) }

  private func changed(_ name: String, _ change: StoreChange) -> InformerNotification {
    .changed(ObjectKey(namespace: "n", name: name), change)
  }

  /// Runs `informer` while `body` runs.
  private func running(_ informer: LeaseInformer, _ body: () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try? await informer.run() }
      try await body()
      group.cancelAll()
    }
  }

  @Test("Pages are followed to the end, then the watch begins at the list's version")
  func pages() async throws {
    let transport = transport()
    let stream = ScriptedStream()
    transport.expect(.get, Self.path, Self.page([Self.object("a", 1), Self.object("b", 2)], version: 9, next: "t")) {
      $0.query.contains(.init("limit", "2")) && !$0.query.contains { $0.name == "continue" }
    }
    transport.expect(.get, Self.path, Self.page([Self.object("c", 3)], version: 9)) {
      $0.query.contains(.init("continue", "t"))
    }
    transport.expect(.get, Self.path, .stream(stream), where: Self.isWatch(from: 9))
    let informer = informer(transport)
    try await running(informer) {
      #expect(
        await notifications.next(4) == [changed("a", .added), changed("b", .added), changed("c", .added), .synced])
      #expect(informer.hasSynced)
      try await informer.waitForSync()
      stream.send(Self.event("ADDED", Self.object("d", 10, holder: "x")))
      #expect(await notifications.next() == changed("d", .added))
      #expect(informer.store.objects(indexedBy: "x").map(\.key.name) == ["d"])
      #expect(informer.store.objects(namespace: "n").map(\.key.name) == ["a", "b", "c", "d"])
      #expect(informer.store.objects(namespace: "m").isEmpty)
      stream.send(
        Self.event("MODIFIED", Self.object("d", 11, holder: "y")) + Self.event("DELETED", Self.object("a", 12)))
      #expect(await notifications.next(2) == [changed("d", .updated), changed("a", .deleted)])
      #expect(informer.store.objects(indexedBy: "x").isEmpty)
      #expect(informer.metrics.objects == 3)
      #expect(informer.metrics.events == 3)
    }
    #expect(transport.unmet.isEmpty)
  }

  @Test("A dropped stream is resumed after the last version seen, bookmarks included, without listing")
  func resume() async throws {
    let transport = transport()
    let (first, second, third) = (ScriptedStream(), ScriptedStream(), ScriptedStream())
    transport.expect(.get, Self.path, Self.page([], version: 5), where: Self.isList)
    transport.expect(.get, Self.path, .stream(first), where: Self.isWatch(from: 5))
    transport.expect(.get, Self.path, .stream(second), where: Self.isWatch(from: 7))
    transport.expect(.get, Self.path, .stream(third), where: Self.isWatch(from: 30))
    let informer = informer(transport)
    try await running(informer) {
      #expect(await notifications.next() == .synced)
      first.send(Self.event("ADDED", Self.object("a", 7)))
      #expect(await notifications.next() == changed("a", .added))
      time.advance(by: .seconds(5))
      first.fail(KubernetesError(.unreachable, "reset"))
      try await first.closed.wait()
      second.send(Self.event("BOOKMARK", Self.object("", 30)))
      second.send(Self.event("MODIFIED", Self.object("a", 29)))
      #expect(await notifications.next() == changed("a", .updated))
      second.send(Self.event("BOOKMARK", Self.object("", 30)))
      while informer.metrics.events < 4, !Task.isCancelled { await Task.yield() }
      time.advance(by: .seconds(5))
      second.finish()
      try await second.closed.wait()
      third.send(Self.event("DELETED", Self.object("a", 31)))
      #expect(await notifications.next() == changed("a", .deleted))
      #expect(informer.metrics.lists == 1)
      #expect(informer.metrics.watchStarts == 3)
    }
    #expect(transport.unmet.isEmpty)
  }

  @Test(
    "Too old a version, said in the stream or when it opens, leads to a list that finds what was missed",
    arguments: [true, false])
  func expired(inStream: Bool) async throws {
    let transport = transport()
    let (first, second) = (ScriptedStream(), ScriptedStream())
    let status = #"{"kind":"Status","status":"Failure","message":"too old","reason":"Expired","code":410}"#
    transport.expect(
      .get, Self.path, Self.page([Self.object("gone", 1), Self.object("same", 2)], version: 5), where: Self.isList)
    if inStream {
      transport.expect(.get, Self.path, .stream(first), where: Self.isWatch(from: 5))
      first.send(Self.event("ERROR", status))
    } else {
      transport.expect(.get, Self.path, .status(410, reason: "Expired"), where: Self.isWatch(from: 5))
    }
    transport.expect(
      .get, Self.path, Self.page([Self.object("same", 2), Self.object("new", 8)], version: 9), where: Self.isList)
    transport.expect(.get, Self.path, .stream(second), where: Self.isWatch(from: 9))
    let informer = informer(transport)
    try await running(informer) {
      #expect(await notifications.next(3) == [changed("gone", .added), changed("same", .added), .synced])
      // The unchanged object isn't told again; the deletion that nobody saw is.
      #expect(await notifications.next(3) == [changed("new", .added), changed("gone", .deleted), .synced])
      #expect(informer.metrics.lists == 2)
    }
  }

  @Test("A continue token that expires begins the list anew, and what the first pages named alone is dropped")
  func expiredToken() async throws {
    let transport = transport()
    transport.expect(
      .get, Self.path, Self.page([Self.object("a", 1), Self.object("b", 2)], version: 5, next: "t"), where: Self.isList)
    transport.expect(.get, Self.path, .status(410, reason: "Expired"), where: Self.isList)
    transport.expect(.get, Self.path, Self.page([Self.object("b", 2)], version: 8), where: Self.isList)
    transport.expect(.get, Self.path, .stream(ScriptedStream()), where: Self.isWatch(from: 8))
    let informer = informer(transport)
    try await running(informer) {
      #expect(
        await notifications.next(4) == [changed("a", .added), changed("b", .added), changed("a", .deleted), .synced])
    }
  }

  @Test("A list that is refused with 429 waits as long as the server asks")
  func tooManyRequests() async throws {
    let transport = transport()
    transport.expect(.get, Self.path, .status(429, reason: "TooManyRequests", retryAfter: 20), where: Self.isList)
    transport.expect(.get, Self.path, Self.page([], version: 5), where: Self.isList)
    transport.expect(.get, Self.path, .stream(ScriptedStream()), where: Self.isWatch(from: 5))
    let informer = informer(transport)
    try await running(informer) {
      let deadline = await time.nextSleep()
      #expect(deadline >= MonotonicTime(sinceOrigin: .seconds(20)))
      #expect(informer.metrics.lastError?.code == .tooManyRequests)
      time.advanceToNextSleeper()
      #expect(await notifications.next() == .synced)
    }
  }

  @Test("A stream that falls silent is given up after the idle timeout and resumed")
  func halfOpen() async throws {
    let transport = transport()
    let (first, second) = (ScriptedStream(), ScriptedStream())
    transport.expect(.get, Self.path, Self.page([], version: 5), where: Self.isList)
    transport.expect(.get, Self.path, .stream(first), where: Self.isWatch(from: 5))
    transport.expect(.get, Self.path, .stream(second), where: Self.isWatch(from: 5))
    let informer = informer(transport, .init(idleTimeout: .seconds(90)))
    try await running(informer) {
      #expect(await notifications.next() == .synced)
      await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(90)))
      time.advance(by: .seconds(90))
      try await first.closed.wait()
      second.send(Self.event("ADDED", Self.object("a", 7)))
      #expect(await notifications.next() == changed("a", .added))
      #expect(informer.metrics.lists == 1)
    }
  }

  @Test("A list that takes too long is given up and tried again")
  func slowList() async throws {
    let transport = transport()
    transport.expect(.get, Self.path, .silence, where: Self.isList)
    transport.expect(.get, Self.path, Self.page([Self.object("a", 1)], version: 5), where: Self.isList)
    transport.expect(.get, Self.path, .stream(ScriptedStream()), where: Self.isWatch(from: 5))
    let informer = informer(transport)
    try await running(informer) {
      await time.waitForSleepers(count: 1)
      #expect(!informer.hasSynced)
      time.advanceToNextSleeper()
      await time.nextSleep()
      await time.nextSleep()
      time.advanceToNextSleeper()
      #expect(await notifications.next(2) == [changed("a", .added), .synced])
    }
  }

  @Test("An object that was replaced by another of its name is told as deleted and added")
  func replaced() async throws {
    let transport = transport()
    let stream = ScriptedStream()
    transport.expect(.get, Self.path, Self.page([Self.object("a", 1, uid: "u1")], version: 5), where: Self.isList)
    transport.expect(.get, Self.path, .stream(stream), where: Self.isWatch(from: 5))
    let informer = informer(transport)
    try await running(informer) {
      _ = await notifications.next(2)
      stream.send(Self.event("MODIFIED", Self.object("a", 9, uid: "u2")))
      #expect(await notifications.next(2) == [changed("a", .deleted), changed("a", .added)])
    }
  }

  @Test("On graceful shutdown run() returns without an error")
  func gracefulShutdown() async throws {
    let transport = transport()
    let stream = ScriptedStream()
    transport.expect(.get, Self.path, Self.page([], version: 5), where: Self.isList)
    transport.expect(.get, Self.path, .stream(stream), where: Self.isWatch(from: 5))
    let informer = informer(transport)
    let group = ServiceGroup(
      configuration: .init(
        services: [.init(service: informer, successTerminationBehavior: .gracefullyShutdownGroup)],
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      #expect(await notifications.next() == .synced)
      await group.triggerGracefulShutdown()
      try await tasks.next()
    }
    try await stream.closed.wait()
  }
}
