import KubernetesCore
import KubernetesRuntime
import Logging
import ServiceLifecycle
import TestSupport
import Testing

@Suite("Leader elector")
struct LeaderElectorTests {
  private let time = ManualTimeSource()
  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func elector(_ identity: String, _ transport: any APITransport) throws -> LeaderElector {
    LeaderElector(
      transport: transport, lease: ObjectKey(namespace: "swarm", name: "leader"),
      configuration: try #require(LeaderElection.Configuration(identity: identity)), time: time, random: { 0 },
      logger: logger)
  }

  @Test("The first candidate leads, writes with priority, and gives the lease up when its work is done")
  func acquireAndRelease() async throws {
    let store = LeaseStore()
    let elector = try elector("a", store)
    try await elector.run { leadership in
      #expect(leadership.isValid)
    }
    #expect(store.holders == ["a", ""])
    #expect(!elector.isLeader)
    #expect(store.requests.all.filter { $0.method != .get }.allSatisfy { $0.priority == .write })
  }

  @Test("The second candidate leads only after the first has given the lease up")
  func handover() async throws {
    let store = LeaseStore()
    let (first, second) = (try elector("a", store), try elector("b", store))
    let (leads, done) = (Inbox<String>(), Gate())
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await first.run { _ in
          leads.put("a")
          try await done.wait()
        }
      }
      #expect(await leads.next() == "a")
      group.addTask { try await second.run { _ in leads.put("b") } }
      while store.requests.all.count < 3, !Task.isCancelled { await Task.yield() }
      #expect(!second.isLeader)
      done.open()
      try await group.next()
      // The second candidate waits for its next attempt: move on until it has seen the empty lease.
      while leads.pending.isEmpty {
        time.advance(by: .milliseconds(100))
        await Task.yield()
      }
      #expect(await leads.next() == "b")
      try await group.next()
    }
    // The second leader may renew once or more, as time goes on while it works.
    let changes = store.holders.reduce(into: [String]()) { if $0.last != $1 { $0.append($1) } }
    #expect(changes == ["a", "", "b", ""])
    #expect(store.lease?.spec.leaseTransitions == 1)
  }

  @Test("A leader that can't renew cancels its work at the renew deadline, before the lease runs out")
  func lostLease() async throws {
    let isCut = Gate()
    let store = LeaseStore { _ in
      if isCut.isOpen { try await Gate().wait() }
      return nil
    }
    let elector = try elector("a", store)
    let (events, start) = (Inbox<String>(), time.monotonicNow)
    await withTaskGroup(of: Void.self) { group in
      group.addTask { [time] in
        try? await elector.run { leadership in
          events.put("leads")
          do {
            try await Gate().wait()
          } catch {
            #expect(!leadership.isValid)
            #expect(time.monotonicNow - start >= .seconds(10))
            #expect(time.monotonicNow - start < .seconds(15))
            events.put("stopped")
            throw error
          }
        }
      }
      #expect(await events.next() == "leads")
      isCut.open()
      while events.pending.isEmpty {
        time.advance(by: .milliseconds(50))
        for _ in 0..<20 { await Task.yield() }
      }
      #expect(await events.next() == "stopped")
      #expect(elector.metrics.losses == 1)
      group.cancelAll()
    }
  }

  @Test("On graceful shutdown the work ends first, then the lease is given up, and run() returns")
  func gracefulShutdown() async throws {
    let store = LeaseStore()
    let elector = try elector("a", store)
    let leads = Gate()
    let service = ElectedService(elector: elector, leads: leads)
    let group = ServiceGroup(configuration: .init(services: [.init(service: service)], logger: logger))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      try await leads.wait()
      await group.triggerGracefulShutdown()
      try await tasks.next()
    }
    #expect(store.holders == ["a", ""])
  }

  @Test("An error of the work is thrown, after the lease was given up")
  func bodyFails() async throws {
    let store = LeaseStore()
    let elector = try elector("a", store)
    await #expect(throws: TestFailure.self) {
      try await elector.run { _ in throw TestFailure("broken") }
    }
    #expect(store.holders == ["a", ""])
  }
}

private struct ElectedService: Service {
  var elector: LeaderElector
  var leads: Gate

  func run() async throws {
    try await elector.run { leadership in
      leads.open()
      try await gracefulShutdown()
      #expect(leadership.isValid)
    }
  }
}
