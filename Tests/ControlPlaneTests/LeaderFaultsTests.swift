import KubernetesCore
import KubernetesRuntime
import ScalingController
import TestSupport
import Testing

/// Two controllers, of which one leads, and the ways in which the leader can fail.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(10)))
struct LeaderFaultControlPlaneTests {
  private static let leaseDuration = Duration.seconds(6)
  private static let retryPeriod = Duration.seconds(1)

  private struct Pair: Sendable {
    var namespace: TestNamespace
    /// Leads at first.
    var a: TestController
    var b: TestController

    var fleet: WebFleet { WebFleet(namespace: namespace, controller: b) }

    /// Waits until `controller` has become leader for the `count`th time, and tells when.
    func leads(_ controller: TestController, count: Int = 1) async throws -> Timestamp {
      try await eventually("a leader") {
        let times = controller.log.times(of: "became leader")
        return times.count >= count ? times[count - 1] : nil
      }
    }

    /// Waits until `a` has stepped down, and tells when.
    func aSteppedDown() async throws -> Timestamp {
      try await eventually("the leader to step down") { a.log.times(of: "lost the lease").first }
    }

    /// Who wrote the scale, in the order in which the writes arrived; several in a row by the same count as one.
    func writers() async throws -> [String] {
      var writers: [String] = []
      for write in try await namespace.scaleWrites() where write.status == 200 && write.userAgent != writers.last {
        writers.append(write.userAgent)
      }
      return writers
    }
  }

  private static func controller(_ namespace: TestNamespace, _ name: String) throws -> TestController {
    let configuration = try #require(
      LeaderElection.Configuration(
        identity: name, leaseDuration: leaseDuration, renewDeadline: .seconds(4), retryPeriod: retryPeriod))
    return try TestController(
      kubeconfig: namespace.kubeconfigFaults, namespace: namespace.name,
      election: (ObjectKey(namespace: namespace.name, name: "leader"), configuration), instance: name)
  }

  /// Runs two controllers of which `a` leads; `after` runs when `b` has ended in good order and `a` is still there.
  private static func withPair(
    _ name: String, _ body: @escaping @Sendable (Pair) async throws -> Void,
    after: @escaping @Sendable (Pair) async throws -> Void
  ) async throws {
    try await TestNamespace.with(name) { namespace in
      try await WebFleet.create(in: namespace)
      let pair = Pair(namespace: namespace, a: try controller(namespace, "a"), b: try controller(namespace, "b"))
      try await pair.a.run {
        try await pair.a.awaitSettled("web", at: 5)
        try await pair.b.run {
          _ = try await eventually("b to be ready") { pair.b.service.notReadyReason == nil ? true : nil }
          #expect(pair.b.all.isEmpty)
          #expect(!pair.b.service.isLeader)
          try await body(pair)
        }
        try await after(pair)
      }
      // A pass that was cancelled with the leadership is nobody's trouble.
      #expect(!pair.a.log.lines.contains { $0.contains("CancellationError") })
    }
  }

  @Test("A leader whose lease expires stops before the other begins, and takes over at once when that one ends")
  func expiredLease() async throws {
    try await Self.withPair("lease") { pair in
      try await pair.namespace.addRule(
        #"{"name":"lease","userAgent":"test-a$","path":"/namespaces/NS/leases/","do":{"stall":true}}"#)
      let stopped = try await pair.aSteppedDown()
      let mark = pair.a.mark
      let began = try await pair.leads(pair.b)
      #expect(stopped < began)
      try await pair.fleet.converges(at: 12)
      // Its other requests would go through, yet it doesn't act.
      #expect(pair.a.mark == mark)
      #expect(try await pair.writers() == ["swarmscale-controller/test-b"])
      try await pair.namespace.removeRules()
    } after: { pair in
      let again = try await pair.leads(pair.a, count: 2)
      let released = try #require(pair.b.log.times(of: "released the lease").first)
      // Sooner than the lease lasts: it was given back.
      #expect(again - released < Self.leaseDuration)
      try await pair.fleet.converges(at: 7, by: pair.a)
      #expect(try await pair.writers() == ["swarmscale-controller/test-b", "swarmscale-controller/test-a"])
    }
  }

  @Test("A leader that is cut off is followed within the lease time, and only one of the two ever writes")
  func cutOff() async throws {
    try await Self.withPair("cut-off") { pair in
      let cut = SystemTimeSource().wallNow
      try await pair.namespace.addRule(#"{"name":"cut","userAgent":"test-a$","path":"","do":{"drop":"before"}}"#)
      // Both would want to write now.
      let mark = pair.b.mark
      try await pair.namespace.setLoad("web", cpu: TestNamespace.total("9300m"))
      let began = try await pair.leads(pair.b)
      let stopped = try await pair.aSteppedDown()
      #expect(stopped < began)
      // The lease, and before and after it the candidate's longest pause; some seconds for a busy machine.
      #expect(began - cut < Self.leaseDuration + Self.retryPeriod * 5 + .seconds(5))
      try await pair.b.awaitSettled("web", at: 12, since: mark)
      #expect(pair.a.all.filter(\.hasWritten).isEmpty)
      #expect(try await pair.writers() == ["swarmscale-controller/test-b"])
      // Back on the network, the former leader waits for its turn.
      let silent = pair.a.mark
      try await pair.namespace.removeRules()
      try await pair.fleet.converges(at: 5)
      #expect(pair.a.mark == silent)
    } after: { pair in
      _ = try await pair.leads(pair.a, count: 2)
      try await pair.fleet.converges(at: 8, by: pair.a)
    }
  }
}
