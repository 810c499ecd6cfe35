import Foundation
import NATSTestSupport
import NIOCore
import Synchronization
import Testing

@testable import NATSClient

extension NATSServerTests {
  @Suite struct JetStreamAPI {
    private func withStream(
      _ configure: (inout StreamConfiguration) -> Void = { _ in },
      _ body: (JetStream, NATSClient, ServerProcess) async throws -> Void
    ) async throws {
      var stream = StreamConfiguration(name: "TASKS", subjects: ["task.>", "sched.>"])
      configure(&stream)
      let configuration = stream
      try await withClient { client, server in
        let jetStream = JetStream(client)
        _ = try await jetStream.createStream(configuration)
        try await body(jetStream, client, server)
      }
    }

    @Test("Streams are made, described, changed without losing what has no name here, purged and deleted")
    func streams() async throws {
      try await withStream { _ in
      } _: { jetStream, _, _ in
        let account = try await jetStream.accountInfo()
        #expect(account["api"]?["level"]?.int ?? 0 >= 2)
        var configuration = try await jetStream.streamInfo("TASKS").configuration
        configuration.json["description"] = "kept"
        configuration.maximumAge = .seconds(600)
        let updated = try await jetStream.updateStream(configuration)
        #expect(updated.configuration.maximumAge == .seconds(600))
        #expect(updated.configuration.json["description"]?.string == "kept")
        for number in 0..<5 { try await jetStream.publish("task.\(number % 2)", bytes("\(number)")) }
        #expect(try await jetStream.streamInfo("TASKS").messages == 5)
        #expect(try await jetStream.purgeStream("TASKS", subject: "task.0") == 3)
        #expect(try await jetStream.streamInfo("TASKS").messages == 2)
        #expect(try await jetStream.streamNames() == ["TASKS"])
        try await jetStream.deleteStream("TASKS")
        await #expect { try await jetStream.streamInfo("TASKS") } throws: {
          ($0 as? JetStreamError)?.errorCode == JetStreamError.streamNotFound
        }
        await #expect { try await jetStream.publish("task.a") } throws: {
          ($0 as? NATSError)?.code == .noResponders
        }
        await #expect { try await jetStream.streamInfo("a.b") } throws: {
          ($0 as? NATSError)?.code == .invalidArgument
        }
      }
    }

    @Test("A message id is stored once; an expected sequence decides between two writers")
    func expectations() async throws {
      try await withStream { _ in
      } _: { jetStream, _, _ in
        let first = try await jetStream.publish("task.a", bytes("1"), options: PublishOptions(messageID: "id"))
        let again = try await jetStream.publish("task.a", bytes("1"), options: PublishOptions(messageID: "id"))
        #expect(!first.isDuplicate && again.isDuplicate && first.sequence == again.sequence)
        var options = PublishOptions()
        options.expectedLastSubjectSequence = first.sequence
        let second = try await jetStream.publish("task.a", bytes("2"), options: options)
        await #expect { try await jetStream.publish("task.a", bytes("3"), options: options) } throws: {
          ($0 as? JetStreamError)?.isWrongSequence == true
        }
        #expect(
          try await jetStream.message("TASKS", .last(subject: "task.a"))?.sequence == second.sequence)
        #expect(try await jetStream.message("TASKS", .sequence(first.sequence))?.message.text == "1")
        #expect(try await jetStream.message("TASKS", .sequence(99)) == nil)
        #expect(try await jetStream.message("TASKS", .sequence(1))?.message.headers["Nats-Msg-Id"] == "id")
      }
    }

    @Test("A counter tells its new value with the receipt")
    func counters() async throws {
      try await withStream {
        $0.allowsCounters = true
      } _: { jetStream, _, _ in
        var options = PublishOptions()
        options.increment = 5
        let first = try await jetStream.publish("task.count", options: options)
        #expect(first.value == "5")
        options.increment = -2
        let second = try await jetStream.publish("task.count", options: options)
        #expect(second.value == "3")
      }
    }

    @Test("A scheduled message comes out at its target, and not before")
    func schedules() async throws {
      try await withStream {
        $0.allowsSchedules = true
        $0.allowsMessageTTL = true
      } _: { jetStream, _, _ in
        var options = PublishOptions()
        let at = Duration.seconds(Date().timeIntervalSince1970 + 1)
        options.schedule = .init(at: at, target: "task.later")
        try await jetStream.publish("sched.1", bytes("hello"), options: options)
        let consumer = try await jetStream.createConsumer("TASKS", .init(durable: "c", filters: ["task.later"]))
        let message = try #require(try await consumer.fetch(1, expires: .seconds(30)).first)
        #expect(message.text == "hello")
        #expect(Date().timeIntervalSince1970 + 0.01 >= Double(at.components.seconds))
      }
    }

    @Test("An atomic batch is stored as a whole, or not at all")
    func atomicBatch() async throws {
      try await withStream {
        $0.allowsAtomicBatches = true
      } _: { jetStream, _, _ in
        let ack = try await jetStream.publishAtomically((1...10).map { .init("task.\($0)", bytes("\($0)")) })
        #expect(ack.count == 10 && ack.sequence == 10)
        var options = PublishOptions()
        options.expectedLastSubjectSequence = 99
        await #expect {
          try await jetStream.publishAtomically([
            .init("task.a", bytes("a")), .init("task.b", bytes("b")), .init("task.c", bytes("c"), options: options),
          ])
        } throws: { $0 is JetStreamError }
        #expect(try await jetStream.streamInfo("TASKS").lastSequence == 10)
      }
    }

    @Test("A pull brings what is asked for: a batch, what is there, bytes at most, nothing in time")
    func fetch() async throws {
      try await withStream { _ in
      } _: { jetStream, client, _ in
        for number in 0..<10 { try await jetStream.publish("task.n", bytes("\(number)")) }
        let consumer = try await jetStream.createConsumer("TASKS", .init(durable: "c"))
        let batch = try await consumer.fetch(4)
        #expect(batch.map(\.text) == ["0", "1", "2", "3"])
        #expect(batch[0].subject == "task.n" && batch[0].metadata.streamSequence == 1)
        #expect(batch[3].metadata.pending == 6 && batch[0].metadata.deliveries == 1)
        for message in batch { try message.ack() }
        #expect(try await consumer.fetch(100, noWait: true).count == 6)
        #expect(try await consumer.fetch(1, expires: .milliseconds(100)).isEmpty)
        #expect(try await consumer.fetch(1, noWait: true).isEmpty)
        try await jetStream.publish("task.n", ByteBuffer(repeating: 0, count: 10_000))
        await #expect { try await consumer.fetch(1, expires: .milliseconds(300), maximumBytes: 5000) } throws: {
          ($0 as? NATSError)?.code == .serverError
        }
        #expect(client.state.withLock { $0.registry.entries.count } == 1, "only the inbox of requests is left")
      }
    }

    @Test("Each answer does what it says: again after a delay, never again, again after silence unless still at it")
    func answers() async throws {
      try await withStream { _ in
      } _: { jetStream, _, _ in
        var configuration = ConsumerConfiguration(durable: "c")
        configuration.ackWait = .milliseconds(600)
        let consumer = try await jetStream.createConsumer("TASKS", configuration)
        try await jetStream.publish("task.n", bytes("x"))
        let clock = ContinuousClock()
        var message = try #require(try await consumer.fetch(1).first)
        var start = clock.now
        try message.nak(delay: .milliseconds(200))
        message = try #require(try await consumer.fetch(1).first)
        #expect(clock.now - start >= .milliseconds(190))
        #expect(message.metadata.deliveries == 2)
        try message.nak()
        message = try #require(try await consumer.fetch(1).first)
        #expect(message.metadata.deliveries == 3)
        // Still at it: the wait begins anew, so it isn't there again after less than a whole wait from now.
        #expect(try await consumer.fetch(1, expires: .milliseconds(400)).isEmpty)
        start = clock.now
        try message.inProgress()
        message = try #require(try await consumer.fetch(1).first)
        #expect(clock.now - start >= .milliseconds(590))
        try message.term(reason: "poison")
        #expect(try await consumer.fetch(1, expires: .seconds(1)).isEmpty)
        try await jetStream.publish("task.n", bytes("y"))
        message = try #require(try await consumer.fetch(1).first)
        try await message.ackAndWait()
        #expect(try await jetStream.consumerInfo("TASKS", "c").ackPending == 0)
      }
    }

    @Test("A stream of messages brings each one once, pulled ahead, and says when its consumer is deleted")
    func messages() async throws {
      try await withStream { _ in
      } _: { jetStream, client, _ in
        var pipeline = try PublishPipeline(jetStream)
        for number in 0..<5000 { try await pipeline.send("task.n", bytes("\(number)")) }
        try await pipeline.finish()
        #expect(pipeline.acknowledged == 5000)
        let consumer = try await jetStream.createConsumer("TASKS", .init(durable: "c"))
        let messages = try consumer.messages(batch: 200)
        for number in 0..<5000 {
          let message = try #require(try await messages.next())
          #expect(message.text == "\(number)")
          try message.ack()
        }
        try await client.flush()
        try await eventually { try await jetStream.consumerInfo("TASKS", "c").ackPending == 0 ? true : nil }
        try await jetStream.deleteConsumer("TASKS", "c")
        await #expect { try await messages.next() } throws: { ($0 as? NATSError)?.code == .serverError }
      }
    }

    @Test("A stream of messages goes on after a restart of the server")
    func messagesAcrossRestart() async throws {
      try await withStream { _ in
      } _: { jetStream, client, server in
        for number in 0..<10 { try await jetStream.publish("task.n", bytes("\(number)")) }
        var configuration = ConsumerConfiguration(durable: "c")
        configuration.ackWait = .seconds(1)
        let messages = try await jetStream.createConsumer("TASKS", configuration).messages(batch: 100)
        for number in 0..<10 {
          let message = try #require(try await messages.next())
          #expect(message.text == "\(number)")
          try await message.ackAndWait()
        }
        server.stop()
        try await server.start()
        try await jetStream.publish(
          "task.n", bytes("after"), options: PublishOptions(messageID: "a"), retryingFor: .seconds(30))
        // The server writes a consumer's state a moment after the acknowledgement: the last ones may come again.
        var text: String?
        for _ in 0...10 {
          let message = try #require(try await messages.next())
          text = message.text
          guard text.flatMap(Int.init) != nil else { break }
          try await message.ackAndWait()
        }
        #expect(text == "after")
      }
    }

    @Test("An ordered consumer reads each message once, in order, over a restart and the loss of its consumer")
    func ordered() async throws {
      try await withStream { _ in
      } _: { jetStream, client, server in
        var pipeline = try PublishPipeline(jetStream)
        for number in 1...1000 { try await pipeline.send("task.n", bytes("\(number)")) }
        try await pipeline.finish()
        let consumer = OrderedConsumer(jetStream, stream: "TASKS", batch: 50, heartbeat: .milliseconds(300))
        var next = 1
        func read(to last: Int) async throws {
          while next <= last {
            for message in try await consumer.nextBatch(max: min(20, last - next + 1)) {
              #expect(message.text == "\(next)")
              next += 1
            }
          }
        }
        try await read(to: 300)
        server.stop()
        try await server.start()
        try await read(to: 600)
        for name in try await jetStream.call("CONSUMER.NAMES.TASKS", ["offset": 0])["consumers"]?.array ?? [] {
          try await jetStream.deleteConsumer("TASKS", name.string ?? "")
        }
        try await read(to: 1000)
        #expect(consumer.consumersMade >= 3)
        await consumer.stop()
        #expect(try await jetStream.streamInfo("TASKS").consumers == 0)
      }
    }

    @Test("Reading to the end ends when what waited is removed meanwhile")
    func removedWhileRead() async throws {
      try await withStream { _ in
      } _: { jetStream, _, _ in
        for number in 1...20 { _ = try await jetStream.publish("task.n", bytes("\(number)")) }
        var read = 0
        try await OrderedConsumer(jetStream, stream: "TASKS", batch: 1).readToEnd { _ in
          read += 1
          if read == 1 { try await jetStream.purgeStream("TASKS", subject: "task.n") }
        }
        #expect((1..<20).contains(read))
        #expect(try await jetStream.streamInfo("TASKS").consumers == 0)
      }
    }
  }

  @Suite struct KeyValueStore {
    @Test("Values are put, read, compared and set, deleted and purged, with their history")
    func values() async throws {
      try await withClient { client, _ in
        var configuration = KeyValueConfiguration(bucket: "state")
        configuration.history = 3
        let bucket = try await KeyValue.create(JetStream(client), configuration)
        #expect(try await bucket.get("a") == nil)
        let first = try await bucket.create("a", bytes("1"))
        await #expect(throws: KeyValueError.exists(key: "a")) { try await bucket.create("a", bytes("x")) }
        let second = try await bucket.update("a", bytes("2"), revision: first)
        await #expect(throws: KeyValueError.wrongRevision(key: "a")) {
          try await bucket.update("a", bytes("x"), revision: first)
        }
        #expect(try await bucket.get("a")?.text == "2")
        #expect(try await bucket.get("a", consistent: true)?.revision == second)
        #expect(try await bucket.get("a", revision: first)?.text == "1")
        try await bucket.put("b.c", bytes("3"))
        #expect(try await bucket.keys() == ["a", "b.c"])
        try await bucket.delete("a", revision: second)
        #expect(try await bucket.get("a") == nil)
        #expect(try await bucket.keys() == ["b.c"])
        #expect(try await bucket.history("a").map(\.operation) == [.put, .put, .delete])
        try await bucket.create("a", bytes("again"))
        try await bucket.purge("a")
        #expect(try await bucket.history("a").map(\.operation) == [.purge])
        await #expect(throws: KeyValueError.invalidKey("a b")) { try await bucket.put("a b", bytes("")) }
        await #expect(throws: KeyValueError.invalidKey("a.*")) { try await bucket.put("a.*", bytes("")) }
        #expect(try await KeyValue.open(JetStream(client), bucket: "state").get("b.c")?.text == "3")
      }
    }

    @Test("A lease expires by itself, watchers hear of it, and a renewal keeps it")
    func leases() async throws {
      try await withClient { client, _ in
        var configuration = KeyValueConfiguration(bucket: "leases")
        configuration.limitMarkerTTL = .seconds(60)
        let bucket = try await KeyValue.create(JetStream(client), configuration)
        var changes = bucket.watch().makeAsyncIterator()
        #expect(try await changes.next() == .current)
        let revision = try await bucket.create("leader", bytes("a"), timeToLive: .seconds(1))
        await #expect(throws: KeyValueError.exists(key: "leader")) { try await bucket.create("leader", bytes("b")) }
        _ = try await bucket.update("leader", bytes("a"), revision: revision, timeToLive: .seconds(1))
        var operations: [KeyValueEntry.Operation] = []
        while operations.last != .expired, case .entry(let entry)? = try await changes.next() {
          operations.append(entry.operation)
        }
        // Of two puts a watcher that is late sees the last.
        #expect(operations.dropLast().allSatisfy { $0 == .put } && (2...3).contains(operations.count))
        try await bucket.create("leader", bytes("b"))
        #expect(try await bucket.get("leader")?.text == "b")
      }
    }

    @Test("A watch goes on over restarts of the server, each change once")
    func watchAcrossRestarts() async throws {
      try await withClient { client, server in
        var configuration = KeyValueConfiguration(bucket: "state")
        configuration.history = 64
        let bucket = try await KeyValue.create(JetStream(client), configuration)
        try await bucket.put("k", bytes("0"))
        try await withThrowingTaskGroup(of: [String].self) { group in
          let (first, isThere) = AsyncStream.makeStream(of: Void.self)
          group.addTask {
            var values: [String] = []
            for try await change in bucket.watch(heartbeat: .milliseconds(500)) {
              if case .entry(let entry) = change {
                values.append(entry.text)
                isThere.yield()
                if entry.text == "30" { break }
              }
            }
            return values
          }
          // The watch begins with the value that is there then: the changes have to come behind it.
          for await _ in first { break }
          for round in 0..<3 {
            for number in 1...10 {
              // Compare-and-set by history would do too; here the same value is never put twice.
              try await JetStream(client).publish(
                "$KV.state.k", bytes("\(round * 10 + number)"),
                options: PublishOptions(messageID: "\(round)-\(number)"),
                retryingFor: .seconds(60))
            }
            if round < 2 {
              server.stop()
              try await server.start()
            }
          }
          let values = try await group.next() ?? []
          #expect(values == (0...30).map(String.init))
        }
      }
    }
  }

  @Suite struct Objects {
    @Test(
      "Objects of no, odd and many chunks come back as they were, are replaced, listed and deleted",
      arguments: [0, 1, 131_072, 5_000_001])
    func roundTrip(size: Int) async throws {
      try await withClient { client, _ in
        let store = try await ObjectStore.create(JetStream(client), bucket: "blobs")
        var random = SeededRandom(seed: UInt64(size))
        let content = ByteBuffer(bytes: (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) })
        try await store.put("a/b c", bytes("old"))
        let info = try await store.put("a/b c", content)
        #expect(info.size == size && info.chunks == (size + 131_071) / 131_072)
        #expect(try await store.get("a/b c") == content)
        #expect(try await store.list().map(\.name) == ["a/b c"])
        // The chunks of the one that was replaced are gone.
        #expect(try await JetStream(client).streamInfo("OBJ_blobs").messages == UInt64(info.chunks + 1))
        try await store.delete("a/b c")
        #expect(try await store.info("a/b c") == nil)
        #expect(try await store.list().isEmpty)
        await #expect(throws: ObjectStoreError.notFound("a/b c")) { try await store.get("a/b c") }
        #expect(try await JetStream(client).streamInfo("OBJ_blobs").messages == 1)
      }
    }

    @Test("A damaged object is noticed, and half of one is taken back")
    func damage() async throws {
      try await withClient { client, _ in
        let jetStream = JetStream(client)
        let store = try await ObjectStore.create(jetStream, bucket: "blobs")
        let info = try await store.put("a", ByteBuffer(repeating: 1, count: 300_000))
        var forged = info
        forged.json["digest"] = .string("SHA-256=AAAA")
        try await jetStream.publish("$O.blobs.M.YQ==", forged.json.buffer, headers: ["Nats-Rollup": "sub"])
        await #expect(throws: ObjectStoreError.digestMismatch("a")) { try await store.get("a") }
        try await jetStream.purgeStream("OBJ_blobs", subject: "$O.blobs.C.\(info.identifier)", keeping: 1)
        await #expect(throws: ObjectStoreError.incomplete("a")) { try await store.get("a") }
        struct Broken: Error {}
        let (parts, continuation) = AsyncThrowingStream.makeStream(of: ByteBuffer.self)
        continuation.yield(ByteBuffer(repeating: 2, count: 400_000))
        continuation.finish(throwing: Broken())
        await #expect(throws: Broken.self) { try await store.put("b", parts) }
        #expect(try await jetStream.streamInfo("OBJ_blobs").messages == 2)
      }
    }
  }
}
