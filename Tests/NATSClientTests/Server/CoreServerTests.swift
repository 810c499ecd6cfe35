import Crypto
import Foundation
import NATSTestSupport
import NIOCore
import Synchronization
import Testing

@testable import NATSClient

extension NATSServerTests {
  @Suite struct Core {
    @Test("What is published arrives in order, with headers, and batches give the same messages")
    func publishSubscribe() async throws {
      try await withClient { client, _ in
        let subscription = try client.subscribe("orders.*")
        try await client.publish("orders.first", "one", headers: ["Kind": "a b", "Kind2": ""])
        for number in 0..<1000 { try await client.publish("orders.n", "\(number)") }
        let first = try #require(try await subscription.next())
        #expect(first.subject == "orders.first")
        #expect(first.text == "one")
        #expect(first.headers["Kind"] == "a b")
        #expect(first.headers["Kind2"] == "")
        var texts: [String] = []
        while texts.count < 1000 { texts += try await subscription.nextBatch().map(\.text) }
        #expect(texts == (0..<1000).map(String.init))
      }
    }

    @Test("A hundred tasks ask at once over one connection, and each gets its own answer")
    func requests() async throws {
      try await withClient { client, _ in
        let service = try client.subscribe("double")
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            for try await message in service {
              try await client.respond(to: message, bytes("\((Int(message.text) ?? 0) * 2)"))
            }
          }
          try await withThrowingTaskGroup(of: Void.self) { askers in
            for task in 0..<100 {
              askers.addTask {
                for number in 0..<20 {
                  let answer = try await client.request("double", bytes("\(task * 100 + number)"))
                  #expect(answer.text == "\((task * 100 + number) * 2)")
                }
              }
            }
            try await askers.waitForAll()
          }
          service.unsubscribe()
          try await group.waitForAll()
        }
        #expect(client.state.withLock { $0.requests.count } == 0)
      }
    }

    @Test(
      "A request fails with noResponders at once, with timeout in time, and by cancellation without leaving anything behind"
    )
    func requestFailures() async throws {
      try await withClient { client, _ in
        await #expect { try await client.request("nobody") } throws: { ($0 as? NATSError)?.code == .noResponders }
        let silent = try client.subscribe("silent")
        await #expect { try await client.request("silent", timeout: .milliseconds(50)) } throws: {
          ($0 as? NATSError)?.code == .timeout
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { _ = try await client.request("silent", timeout: .seconds(600)) }
          _ = try await silent.next()
          _ = try await silent.next()
          group.cancelAll()
          await #expect(throws: CancellationError.self) { try await group.waitForAll() }
        }
        #expect(client.state.withLock { $0.requests.count } == 0)
      }
    }

    @Test("A subscription with a limit ends after so many messages, over a reconnect too")
    func limitAcrossReconnect() async throws {
      try await withClient(jetStream: false) { client, server in
        let subscription = try client.subscribe("s")
        subscription.unsubscribe(after: 5)
        for number in 0..<3 { try await client.publish("s", "\(number)") }
        try await client.flush()
        server.stop()
        try await server.start()
        try await client.flush()
        for number in 3..<10 { try await client.publish("s", "\(number)") }
        var texts: [String] = []
        for try await message in subscription { texts.append(message.text) }
        #expect(texts == ["0", "1", "2", "3", "4"])
        #expect(client.statistics.connects == 2)
      }
    }

    @Test("What is published while there is no server arrives when it is back; beyond the bound it is refused")
    func reconnectBuffer() async throws {
      try await withClient(jetStream: false) {
        $0.reconnectBufferBytes = 2000
      } _: { client, server in
        let subscription = try client.subscribe("s")
        try await client.flush()
        server.stop()
        try await eventually { client.server == nil ? true : nil }
        var accepted = 0
        await #expect {
          while true {
            try await client.publish("s", ByteBuffer(repeating: 0x61, count: 100))
            accepted += 1
          }
        } throws: { ($0 as? NATSError)?.code == .reconnectBufferFull }
        #expect(accepted > 10 && accepted < 20)
        try await server.start()
        for _ in 0..<accepted { #expect(try await subscription.next()?.payload.readableBytes == 100) }
      }
    }

    @Test("A request in flight fails at once when its server dies")
    func requestLost() async throws {
      try await withClient(jetStream: false) { client, server in
        let silent = try client.subscribe("silent")
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { _ = try await client.request("silent", timeout: .seconds(600)) }
          _ = try await silent.next()
          server.stop()
          await #expect { try await group.waitForAll() } throws: { ($0 as? NATSError)?.code == .connectionLost }
        }
      }
    }

    @Test("A payload above max_payload is refused before it would cost the connection")
    func maximumPayload() async throws {
      try await withClient(jetStream: false, settings: "max_payload: 1000") { client, _ in
        try await client.flush()
        await #expect { try await client.publish("s", ByteBuffer(repeating: 0, count: 1001)) } throws: {
          ($0 as? NATSError)?.code == .payloadTooLarge
        }
        try await client.publish("s", ByteBuffer(repeating: 0, count: 1000))
        try await client.flush()
        #expect(client.statistics.connects == 1)
      }
    }

    @Test("A slow consumer loses the newest, the oldest, itself or nothing, as its policy says")
    func slowConsumer() async throws {
      try await withClient(jetStream: false) { client, _ in
        let newest = try client.subscribe("s", limits: .init(messages: 10, policy: .dropNewest))
        let oldest = try client.subscribe("s", limits: .init(messages: 10, policy: .dropOldest))
        let ended = try client.subscribe("s", limits: .init(messages: 10, policy: .end))
        for number in 0..<100 { try await client.publish("s", "\(number)") }
        try await client.flush()
        #expect(try await newest.nextBatch().map(\.text) == (0..<10).map(String.init))
        #expect(newest.dropped == 90)
        #expect(try await oldest.nextBatch().map(\.text) == (90..<100).map(String.init))
        #expect(oldest.dropped == 90)
        #expect(try await ended.nextBatch().count == 10)
        await #expect { try await ended.next() } throws: { ($0 as? NATSError)?.code == .slowConsumer }
      }
    }

    @Test("A subscription that pauses the connection loses nothing")
    func pausing() async throws {
      try await withClient(jetStream: false) { client, server in
        try await withNATSClient(try NATSConfiguration(urls: [server.url])) { other in
          let subscription = try client.subscribe("s", limits: .init(messages: 100, policy: .pauseConnection))
          try await client.flush()
          for number in 0..<50_000 { try await other.publish("s", "\(number)") }
          try await other.flush()
          var next = 0
          while next < 50_000 {
            for message in try await subscription.nextBatch(max: 50) {
              #expect(message.text == "\(next)")
              next += 1
            }
          }
        }
      }
    }

    @Test("A publisher waits while the way to the socket is full")
    func outboundBackPressure() async throws {
      try await withClient(jetStream: false) {
        $0.outboundHighWater = 100_000
      } _: { client, server in
        try await client.flush()
        server.signal(SIGSTOP)
        try await withThrowingTaskGroup(of: Int.self) { group in
          group.addTask {
            var count = 0
            while !Task.isCancelled, count < 100_000 {
              do { try await client.publish("s", ByteBuffer(repeating: 0, count: 10_000)) } catch { break }
              count += 1
            }
            return count
          }
          try await eventually { client.state.withLock { $0.out.waiters.isEmpty ? nil : true } }
          #expect(client.state.withLock { $0.out.total } < 200_000)
          server.signal(SIGCONT)
          group.cancelAll()
          let count = try await group.next() ?? 0
          #expect(count < 100_000)
        }
        try await client.flush()
      }
    }

    @Test("A server that stops answering is left by the watchdog")
    func watchdog() async throws {
      try await withServer(jetStream: false) { silent in
        try await withServer(jetStream: false) { other in
          var configuration = try NATSConfiguration(urls: [silent.url, other.url])
          configuration.shufflesServers = false
          configuration.pingInterval = .milliseconds(50)
          configuration.connectTimeout = .milliseconds(500)
          try await withNATSClient(configuration) { client in
            try await client.flush()
            #expect(client.server?.port == silent.port)
            silent.signal(SIGSTOP)
            try await eventually { client.server?.port == other.port ? true : nil }
            try await client.flush()
            silent.signal(SIGCONT)
          }
        }
      }
    }

    @Test("User and password, token, nkey: the right one is let in, the wrong one ends run() with authenticationFailed")
    func authentication() async throws {
      let key = Curve25519.Signing.PrivateKey()
      let nkey = try NKey(seed: NKey.makeSeed(.user, key: key))
      let other = try NKey(seed: NKey.makeSeed(.user))
      let cases: [(String, NATSAuthentication, NATSAuthentication)] = [
        (
          "authorization { user: u, password: secret }", .userPassword(user: "u", password: "secret"),
          .userPassword(user: "u", password: "wrong")
        ),
        ("authorization { token: secret }", .token("secret"), .token("wrong")),
        ("authorization { users: [ { nkey: \(nkey.publicKey) } ] }", .nkey(nkey), .nkey(other)),
      ]
      for (settings, right, wrong) in cases {
        try await withServer(jetStream: false, settings: settings) { server in
          var configuration = try NATSConfiguration(urls: [server.url])
          configuration.reconnectBase = .milliseconds(1)
          configuration.authentication = right
          try await withNATSClient(configuration) { try await $0.flush() }
          configuration.authentication = wrong
          await #expect { try await withNATSClient(configuration) { try await $0.flush() } } throws: {
            ($0 as? NATSError)?.code == .authenticationFailed
          }
        }
      }
    }

    @Test("A refused subscription ends with permissionDenied, and the others go on")
    func permissions() async throws {
      let settings = """
        authorization { users: [ { user: u, password: p, permissions: { subscribe: ["open", "_INBOX.>"] } } ] }
        """
      try await withClient(jetStream: false, settings: settings) {
        $0.authentication = .userPassword(user: "u", password: "p")
      } _: { client, _ in
        let open = try client.subscribe("open")
        let closed = try client.subscribe("closed")
        await #expect { try await closed.next() } throws: { ($0 as? NATSError)?.code == .permissionDenied }
        try await client.publish("open", "hello")
        #expect(try await open.next()?.text == "hello")
      }
    }

    @Test("Draining lets what was received be taken and what was published arrive")
    func drain() async throws {
      try await withClient(jetStream: false) { other, server in
        let watcher = try other.subscribe("out")
        try await other.flush()
        let client = NATSClient(try NATSConfiguration(urls: [server.url]))
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { try await client.run() }
          let subscription = try client.subscribe("in")
          for number in 0..<100 { try await client.publish("in", "\(number)") }
          try await client.flush()
          try await client.publish("out", "last words")
          client.drain()
          var count = 0
          for try await _ in subscription { count += 1 }
          #expect(count == 100)
          try await group.waitForAll()
        }
        #expect(try await watcher.next()?.text == "last words")
        await #expect { try await client.publish("out", "too late") } throws: { ($0 as? NATSError)?.code == .closed }
      }
    }
  }
}
