import CoordinationProtocol
import Coordinator
import GRPCCore
import GRPCNIOTransportHTTP2
import RateBudget
import SwarmCoordination
import SwiftProtobuf
import Synchronization
import TestSupport
import Testing

/// Runs a coordinator's server on loopback while `body` runs.
private func withCoordinator<Result: Sendable>(
  _ budget: BudgetConfiguration, port: Int = 0, isSuccessor: Bool = false, lease: Duration = .seconds(15),
  clock: any BudgetClock,
  authenticator: any Authenticator = TrustingAuthenticator(),
  _ body: (CoordinatorEngine, Int) async throws -> Result
) async throws -> Result {
  var configuration = coordinatorConfiguration(budget)
  configuration.lease = lease
  configuration.sharesEvery = lease / 3
  let engine = CoordinatorEngine(
    state: CoordinatorState(
      configuration: configuration, name: isSuccessor ? "second" : "first", isSuccessor: isSuccessor,
      seed: 1, wall: clock.wall, now: clock.now), clock: clock, batch: .zero)
  let server = CoordinatorServer(
    CoordinatorServerConfiguration(port: port, security: .plaintext), engine: engine, authenticator: authenticator,
    clock: clock)
  return try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask {
      do { try await server.run() } catch is CancellationError {}
    }
    let result = try await body(engine, try await server.port)
    group.cancelAll()
    return result
  }
}

/// Runs a worker's link while `body` runs.
private func withLink<Result: Sendable>(
  _ name: String, port: Int, clock: any CoordinationClock, drains: Inbox<DrainOrder> = Inbox(),
  budget: BudgetConfiguration = plain(requests: 60_000), token: String? = nil,
  _ body: (CoordinatorLink) async throws -> Result
) async throws -> Result {
  var configuration = LinkConfiguration(
    host: "127.0.0.1", port: port, security: .plaintext, token: { token }, defaults: budget)
  configuration.batch = .zero
  configuration.backoff = .milliseconds(1)
  configuration.longestBackoff = .milliseconds(20)
  let link = CoordinatorLink(
    identity: worker(name), configuration: configuration, clock: clock, seed: 7, onDrain: { drains.put($0) })
  return try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask {
      do { try await link.run() } catch is CancellationError {}
    }
    let result = try await body(link)
    group.cancelAll()
    return result
  }
}

/// Waits for a condition; the suite's time limit is the guard against one that never comes.
private func eventually(_ condition: () async -> Bool) async {
  while !(await condition()), !Task.isCancelled { await Task.yield() }
}

/// A call by hand: sends messages, tells what was answered and how it ended.
private func call(_ port: Int, _ messages: [WireWorkerMessage]) async -> (
  answers: [WireCoordinatorMessage], error: RPCError?
) {
  let answers = Inbox<WireCoordinatorMessage>()
  do {
    try await withGRPCClient(
      transport: try HTTP2ClientTransport.Posix(
        target: .ipv4(address: "127.0.0.1", port: port), transportSecurity: .plaintext)
    ) { client in
      try await WireCoordination.Client(wrapping: client).join { writer in
        for message in messages { try await writer.write(message) }
      } onResponse: { response in
        for try await message in response.messages { answers.put(message) }
      }
    }
    return (answers.all, nil)
  } catch {
    return (answers.all, error as? RPCError)
  }
}

private func helloMessage(_ identity: WorkerIdentity) -> WireWorkerMessage {
  var numbers = GroupNumbers()
  var message = WireWorkerMessage()
  message.hello = WorkerHello(identity: identity).wire(numbers: &numbers, now: .zero)
  return message
}

@Suite(.serialized, .timeLimit(.minutes(10)))
struct LoopbackTests {
  @Test("P01: of five parallel calls of 175 tokens on a budget of 100, one is admitted per refill")
  func oversized() async throws {
    let clock = ManualCoordinationClock()
    try await withCoordinator(plain(input: 100), lease: .seconds(3_600), clock: clock) { engine, port in
      try await withLink("a", port: port, clock: clock, budget: plain(input: 0)) { link in
        await eventually { link.isConnected }
        let admitted = Inbox<Admission>()
        await withThrowingTaskGroup(of: Void.self) { group in
          for number in 1...5 {
            group.addTask {
              admitted.put(try await link.acquire(admissionRequest(UInt64(number), of: link.identity, input: 175)))
            }
          }
          _ = await admitted.next()
          await eventually { await engine.report().groups.first?.report.waiting == 4 }
          #expect(admitted.all.count == 1)
          // 175 of 100 are taken: the bucket is full again after 105 s.
          clock.time.advance(by: .seconds(106))
          _ = await admitted.next()
          await eventually { await engine.report().groups.first?.report.waiting == 3 }
          #expect(admitted.all.count == 2)
          group.cancelAll()
          while let result = await group.nextResult() {
            if case .failure(let error) = result { #expect(error is AdmissionError) }
          }
        }
      }
    }
  }

  @Test("P02: three workers that each offer 0.9 of the limit stay within it together")
  func threeWorkers() async throws {
    let clock = ManualCoordinationClock()
    try await withCoordinator(plain(requests: 100), lease: .seconds(3_600), clock: clock) { engine, port in
      let admitted = Inbox<Admission>()
      await withThrowingTaskGroup(of: Void.self) { group in
        for name in ["a", "b", "c"] {
          group.addTask {
            try await withLink(name, port: port, clock: clock, budget: plain(requests: 0)) { link in
              await eventually { link.isConnected }
              try await withThrowingTaskGroup(of: Void.self) { calls in
                for number in 1...90 {
                  calls.addTask {
                    admitted.put(try await link.acquire(admissionRequest(UInt64(number), of: link.identity)))
                  }
                }
                try await calls.waitForAll()
              }
            }
          }
        }
        await eventually { await engine.report().groups.first?.report.waiting == 170 }
        _ = await admitted.next(100)
        #expect(admitted.all.count == 100, "as many as the limit, not 270")
        // Three seconds are five more.
        clock.time.advance(by: .seconds(3))
        _ = await admitted.next(5)
        await eventually { await engine.report().groups.first?.report.waiting == 165 }
        #expect(admitted.all.count == 105)
        group.cancelAll()
        while let result = await group.nextResult() { _ = result }
      }
    }
  }

  @Test("P25: when the coordinator ends, requests go on at the worker's share; when it is back, they go there")
  func coordinatorRestarts() async throws {
    let clock = SystemBudgetClock()
    let budget = plain(requests: 60_000)
    let port = try await withCoordinator(budget, clock: clock) { _, port in port }
    try await withLink("a", port: port, clock: clock, budget: budget) { link in
      let open = try await withCoordinator(budget, port: port, clock: clock) { engine, _ in
        await eventually { link.isConnected }
        #expect(link.coordinator == "first")
        return try await link.acquire(admissionRequest(1, of: link.identity))
      }
      await eventually { !link.isConnected }
      let alone = try await link.acquire(admissionRequest(2, of: link.identity))
      #expect(alone.grant.id.number == 2, "granted without a coordinator")
      try await withCoordinator(budget, port: port, isSuccessor: true, clock: clock) { engine, _ in
        await eventually { link.isConnected }
        #expect(link.coordinator == "second")
        await eventually { await engine.report().groups.first?.report.outstanding == 2 }
        #expect(await engine.report().groups.first?.report.isLearning == true)
        _ = try await link.acquire(admissionRequest(3, of: link.identity))
        for admission in [open, alone] { link.settle(admission, usage: Usage(input: 1, output: 1), isFinal: true) }
        await eventually { await engine.report().groups.first?.report.outstanding == 1 }
        // Settling again moves nothing.
        link.settle(open, usage: Usage(input: 1, output: 1), isFinal: true)
        link.release(alone)
        _ = try await link.acquire(admissionRequest(4, of: link.identity))
        #expect(await engine.report().groups.first?.report.outstanding == 2)
      }
    }
  }

  @Test("A cancelled request is withdrawn from the coordinator's queue")
  func cancelled() async throws {
    let clock = ManualCoordinationClock()
    try await withCoordinator(plain(requests: 1), clock: clock) { engine, port in
      try await withLink("a", port: port, clock: clock, budget: plain(requests: 0)) { link in
        await eventually { link.isConnected }
        _ = try await link.acquire(admissionRequest(1, of: link.identity))
        let error = await withTaskGroup(of: AdmissionError?.self) { group in
          group.addTask {
            do throws(AdmissionError) {
              _ = try await link.acquire(admissionRequest(2, of: link.identity))
              return nil
            } catch {
              return error
            }
          }
          await eventually { await engine.report().groups.first?.report.waiting == 1 }
          group.cancelAll()
          return await group.next() ?? nil
        }
        #expect(error == .cancelled)
        await eventually { await engine.report().groups.first?.report.waiting == 0 }
      }
    }
  }

  @Test("Drain orders reach the worker, answers and activity the coordinator, a goodbye ends it")
  func drain() async throws {
    let clock = SystemBudgetClock()
    let drains = Inbox<DrainOrder>()
    try await withCoordinator(plain(requests: 60), clock: clock) { engine, port in
      try await withLink("a", port: port, clock: clock, drains: drains) { link in
        await eventually { link.isConnected }
        link.report(WorkerActivity(slots: 4, busy: 1))
        await eventually { await engine.report().fleets.first?.busy == 1 }
        await engine.drain(namespace: "team", pod: "a", timeout: .seconds(30))
        let order = await drains.next()
        #expect(order.timeout == .seconds(30))
        link.answer(order, .drained)
        await eventually { await engine.report().workers.first?.drain?.answer == .drained }
        link.leave()
        await eventually { await engine.report().workers.isEmpty }
      }
    }
  }

  @Test("What is malformed or too large ends its own stream, and nobody else's")
  func malformed() async throws {
    let clock = SystemBudgetClock()
    try await withCoordinator(plain(requests: 60_000), clock: clock) { engine, port in
      try await withLink("good", port: port, clock: clock) { link in
        await eventually { link.isConnected }
        var frame = WireWorkerMessage()
        frame.frame = .with {
          $0.cancellations = [
            .with {
              $0.group = 9; $0.number = 1
            }
          ]
        }
        #expect(await call(port, [frame]).error?.code == .invalidArgument, "no hello")
        #expect(await call(port, [helloMessage(worker("bad")), frame]).error?.code == .invalidArgument)
        let twice = await call(port, [helloMessage(worker("bad")), helloMessage(worker("bad"))])
        #expect(twice.error?.code == .invalidArgument)
        var old = helloMessage(worker("bad"))
        old.hello.protocolVersion = 99
        #expect(await call(port, [old]).error?.code == .failedPrecondition)
        var large = WireWorkerMessage()
        large.frame = .with {
          $0.groups = [
            .with {
              $0.index = 1; $0.key.modelGroup = String(repeating: "x", count: ProtocolLimits.messageBytes)
            }
          ]
        }
        #expect(await call(port, [helloMessage(worker("bad")), large]).error != nil)
        let unknown = await call(port, [helloMessage(worker("fine")), WireWorkerMessage()])
        #expect(
          unknown.error == nil, "a message of a later version is passed over: \(String(describing: unknown.error))")
        #expect(link.isConnected)
        _ = try await link.acquire(admissionRequest(1, of: link.identity))
        #expect(await engine.report().workers.contains { $0.identity.pod == "good" && $0.isConnected })
      }
    }
  }

  @Test("A token decides who may call itself what")
  func authentication() async throws {
    struct OneToken: Authenticator {
      func authenticate(
        _ credential: PeerCredential, claiming identity: WorkerIdentity
      ) async throws(AuthenticationError) -> AuthenticatedPeer? {
        guard credential.token == "right" else { throw .refused("the token is unknown") }
        return AuthenticatedPeer(namespace: "team", pod: "a")
      }
    }
    let clock = SystemBudgetClock()
    try await withCoordinator(plain(requests: 60), clock: clock, authenticator: OneToken()) { engine, port in
      #expect(await call(port, [helloMessage(worker("a"))]).error?.code == .unauthenticated)
      try await withLink("a", port: port, clock: clock, token: "right") { link in
        await eventually { link.isConnected }
      }
      let failures = Inbox<String>()
      var configuration = LinkConfiguration(host: "127.0.0.1", port: port, security: .plaintext, token: { "right" })
      configuration.backoff = .seconds(1)
      let impostor = CoordinatorLink(identity: worker("b"), configuration: configuration, clock: clock, seed: 1)
      await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          do { try await impostor.run { failures.put(String(describing: $0)) } } catch is CancellationError {}
        }
        #expect(await failures.next().contains("another pod"))
        group.cancelAll()
      }
      #expect(await engine.report().workers.allSatisfy { $0.identity.pod == "a" })
    }
  }
}
