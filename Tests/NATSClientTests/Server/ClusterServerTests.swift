import Foundation
import NATSTestSupport
import NIOCore
import Synchronization
import Testing

@testable import NATSClient

extension NATSServerTests {
  /// Three servers and a stream of three replicas.
  @Suite struct Cluster {
    /// What publishers have had receipts for, and the longest time without one.
    private struct Tally {
      var acknowledged: Set<String> = []
      var last: ContinuousClock.Instant?
      var longestGap = Duration.zero

      mutating func receipt(_ id: String, at now: ContinuousClock.Instant) {
        acknowledged.insert(id)
        if let last { longestGap = max(longestGap, now - last) }
        last = now
      }
    }

    private final class Shared: Sendable {
      let tally = Mutex(Tally())
      let isDone = Mutex(false)
    }

    private func withCluster(
      _ body: (ServerCluster, NATSClient, JetStream) async throws -> Void
    ) async throws {
      let cluster = try ServerCluster()
      defer { cluster.remove() }
      try await cluster.start()
      var configuration = try NATSConfiguration(urls: cluster.urls)
      configuration.reconnectLimit = .milliseconds(500)
      try await withNATSClient(configuration) { client in
        let jetStream = JetStream(client, timeout: .seconds(2))
        _ = try await eventually {
          try await jetStream.createStream(StreamConfiguration(name: "S", subjects: ["s.>"], replicas: 3))
        }
        try await body(cluster, client, jetStream)
      }
    }

    /// What a pull consumer has brought.
    private final class Readers: Sendable {
      let consumed = Mutex<Set<String>>([])
      let isDone = Mutex(false)
    }

    /// Runs a body beside a pull consumer and a watch, then holds against each other what was written and what they brought.
    private func withReaders(_ jetStream: JetStream, _ body: () async throws -> Tally) async throws -> Tally {
      var reader = ConsumerConfiguration(durable: "reader")
      reader.ackWait = .seconds(5)
      var configuration = KeyValueConfiguration(bucket: "state")
      configuration.replicas = 3
      let (consumer, bucket) = try await eventually { [reader, configuration] in
        (try await jetStream.createConsumer("S", reader), try await KeyValue.create(jetStream, configuration))
      }
      try await bucket.put("k", bytes("0"), retryingFor: .seconds(60))
      let pulls = try consumer.messages(batch: 100, heartbeat: .milliseconds(500))
      let readers = Readers()
      return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          for try await message in pulls {
            _ = readers.consumed.withLock { $0.insert(message.text) }
            try message.ack()
          }
        }
        group.addTask {
          // A value is put until it is acknowledged, and may be there twice: the watcher sees no older one after a newer one.
          var newest = 0
          for try await change in bucket.watch(heartbeat: .milliseconds(500)) {
            guard case .entry(let entry) = change else { continue }
            if entry.text == "last" { break }
            let value = try #require(Int(entry.text))
            #expect(value >= newest)
            newest = value
          }
          #expect(newest > 0)
        }
        group.addTask {
          var value = 0
          while !readers.isDone.withLock({ $0 }) {
            value += 1
            let text = bytes("\(value)")
            _ = try await eventually { try await bucket.put("k", text) }
          }
          _ = try await eventually { try await bucket.put("k", bytes("last")) }
        }
        let tally = try await body()
        readers.isDone.withLock { $0 = true }
        // What was under way on a broken connection comes again after the wait for its acknowledgement.
        try await eventually { readers.consumed.withLock { $0.isSuperset(of: tally.acknowledged) } ? true : nil }
        pulls.stop()
        try await group.waitForAll()
        return tally
      }
    }

    /// Publishes from 16 tasks until `disturb` is done, each message until it has its receipt. Returns what happened.
    private func publish(
      _ jetStream: JetStream, disturb: (_ count: @Sendable () -> Int) async throws -> Void
    ) async throws -> Tally {
      let shared = Shared()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for task in 0..<16 {
          group.addTask {
            var number = 0
            while !shared.isDone.withLock({ $0 }) {
              let id = "\(task)-\(number)"
              number += 1
              try await jetStream.publish(
                "s.\(task)", bytes(id), options: PublishOptions(messageID: id), retryingFor: .seconds(90))
              let now = ContinuousClock().now
              shared.tally.withLock { $0.receipt(id, at: now) }
            }
          }
        }
        try await disturb { shared.tally.withLock { $0.acknowledged.count } }
        shared.isDone.withLock { $0 = true }
        try await group.waitForAll()
      }
      return shared.tally.withLock { $0 }
    }

    /// Holds the stream against the receipts: each one there, each one once.
    private func check(_ tally: Tally, _ jetStream: JetStream) async throws {
      let consumer = OrderedConsumer(jetStream, stream: "S", batch: 1000)
      var stored: [String: Int] = [:]
      // A server that has just come back may leave the first question without an answer.
      var left = try await eventually { try await consumer.begin() }
      while left > 0 {
        for message in try await consumer.nextBatch(max: 1000) {
          stored[message.text, default: 0] += 1
          left = message.metadata.pending
        }
      }
      await consumer.stop()
      let lost = tally.acknowledged.filter { stored[$0] == nil }
      let double = stored.filter { $0.value > 1 }
      #expect(lost.isEmpty, "acknowledged and not there: \(lost.sorted().prefix(5))")
      #expect(double.isEmpty, "stored twice: \(double.keys.sorted().prefix(5))")
      #expect(stored.count >= tally.acknowledged.count)
    }

    @Test(
      "kill -9 of the stream's leader while messages are published: none acknowledged is lost or stored twice; consumers and watches go on"
    )
    func leaderKilled() async throws {
      try await withCluster { cluster, client, jetStream in
        let tally = try await withReaders(jetStream) {
          try await publish(jetStream) { count in
            for _ in 0..<2 {
              let before = count()
              try await eventually { count() > before + 1000 ? true : nil }
              let leader = try await eventually { try await jetStream.streamInfo("S").leader }
              let server = try #require(cluster.servers.enumerated().first { "n\($0.offset)" == leader }?.element)
              server.stop()
              let after = count()
              // The stream has a new leader when further messages have receipts.
              try await eventually { count() > after + 1000 ? true : nil }
              try await server.start()
              try await eventually {
                let replicas = try await jetStream.streamInfo("S").json["cluster"]?["replicas"]?.array ?? []
                return replicas.count == 2 && replicas.allSatisfy { $0["current"]?.bool == true } ? true : nil
              }
            }
          }
        }
        print("leader killed twice: \(tally.acknowledged.count) acknowledged, longest gap \(tally.longestGap)")
        try await check(tally, jetStream)
      }
    }

    @Test(
      "The client leaves a lame duck before it closes: no connection or answer is lost, nothing comes twice, consumers and watches go on"
    )
    func lameDuck() async throws {
      try await withCluster { cluster, client, jetStream in
        try await client.flush()
        try await eventually { client.knownServers.count >= 3 ? true : nil }
        let port = try #require(client.server?.port)
        let server = try #require(cluster.servers.first { $0.port == port })
        let subscription = try client.subscribe("plain")
        try await client.flush()
        let tally = try await withReaders(jetStream) {
          try await publish(jetStream) { count in
            let before = count()
            try await eventually { count() > before + 500 ? true : nil }
            server.signal(SIGUSR2)
            try await eventually { client.server.map { $0.port != port } ?? false ? true : nil }
            #expect(client.statistics.lameDuckMoves == 1)
            let after = count()
            try await eventually { count() > after + 1000 ? true : nil }
          }
        }
        print("lame duck: \(tally.acknowledged.count) acknowledged, longest gap \(tally.longestGap)")
        server.waitForExit()
        try await client.publish("plain", "hello")
        try await client.flush()
        #expect(try await subscription.nextBatch().map(\.text) == ["hello"])
        #expect(client.statistics.connects == 2)
        try await check(tally, jetStream)
      }
    }

    @Test("Servers that were not configured are learned and used")
    func discovery() async throws {
      let cluster = try ServerCluster()
      defer { cluster.remove() }
      try await cluster.start()
      var configuration = try NATSConfiguration(urls: [cluster.urls[0]])
      configuration.reconnectBase = .milliseconds(10)
      try await withNATSClient(configuration) { client in
        try await client.flush()
        try await eventually { client.knownServers.count == 3 ? true : nil }
        cluster.servers[0].stop()
        try await eventually { client.server.map { $0.port != cluster.servers[0].port } ?? false ? true : nil }
        try await client.flush()
      }
    }
  }
}
