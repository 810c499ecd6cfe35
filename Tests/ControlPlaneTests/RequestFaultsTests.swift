import Foundation
import KubernetesCore
import ScalingController
import ScalingDecision
import TestSupport
import Testing

/// Single requests are refused, delayed or unauthorised; after each the same controller goes on.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(10)))
struct RequestFaultControlPlaneTests {
  @Test("409 on a write of /scale: the count is read and decided anew in the same pass, and nobody is alarmed")
  func conflict() async throws {
    try await WebFleet.with("conflict") { fleet in
      try await fleet.settlesAtFive()
      let body = TestNamespace.status(409, "Conflict", "the object has been modified")
      try await fleet.namespace.addRule(
        #"{"name":"409","method":"PUT","path":"/namespaces/NS/deployments/web/scale","times":1,"do":{"status":409,"body":\#(body)}}"#
      )
      try await fleet.converges(at: 12)
      // One refused by the rule, one taken. (The server may refuse one, too, when the Deployment's status moved just then.)
      let writes = try await fleet.namespace.scaleWrites()
      let statuses = writes.map(\.status)
      #expect(statuses == [409, 200] || statuses == [409, 409, 200], "\(writes)\n\(fleet.controller.story)")
      #expect(try await fleet.failures() == [])
    }
  }

  @Test("A write that somebody else has overtaken is refused, and decided anew from what they wrote")
  func realConflict() async throws {
    try await WebFleet.with("overtaken") { fleet in
      try await fleet.settlesAtFive()
      // The first write waits in the proxy; while it does, a person changes the count.
      try await fleet.namespace.addRule(
        #"{"name":"late","method":"PUT","path":"/namespaces/NS/deployments/web/scale","times":1,"do":{"delaySeconds":5}}"#
      )
      let mark = fleet.controller.mark
      try await fleet.namespace.setLoad("web", cpu: TestNamespace.total("9300m"))
      _ = try await eventually("the write to be under way") { try await fleet.namespace.scaleWrites().first }
      try await fleet.namespace.setReplicas(of: "web", to: 7)
      try await fleet.controller.awaitSettled("web", at: 12, since: mark)
      #expect(try await fleet.namespace.scaleWrites().first?.status == 409)
      let decided = fleet.controller.passes(of: "web", since: mark).first { $0.plan?.currentReplicas == 7 }
      // Servers before 1.22 name the writer of a scale by its user agent.
      #expect(["a-person", "swarmscale-tests"].contains(decided?.input?.foreignWriter?.manager))
      #expect(try await fleet.failures() == [])
    }
  }

  @Test("A write whose answer gets lost is not repeated blindly")
  func lostAnswer() async throws {
    try await WebFleet.with("lost-answer") { fleet in
      try await fleet.settlesAtFive()
      let before = try await fleet.namespace.generation(of: "web")
      try await fleet.namespace.addRule(
        #"{"name":"lost","method":"PUT","path":"/namespaces/NS/deployments/web/scale","times":1,"do":{"drop":"afterForward"}}"#
      )
      try await fleet.converges(at: 12)
      // libcurl repeats a request whose reused connection was reset; the resource version keeps that from writing twice:
      // every write that the server took changed the count. (It may have refused the first one, when the Deployment's
      // status moved at that moment.)
      let writes = try await fleet.namespace.scaleWrites()
      let changes = try await fleet.namespace.generation(of: "web") - before
      #expect(changes == Int64(writes.count { $0.upstream == 200 }), "\(writes)\n\(fleet.controller.story)")
      #expect(writes.first?.status == 0 && writes.allSatisfy { [200, 409].contains($0.upstream) })
      #expect(try await fleet.failures() == [])
    }
  }

  @Test(
    "429 with Retry-After is obeyed, for writes of the scale and for metrics",
    arguments: [
      (method: "PUT", path: "/deployments/web/scale"), (method: "GET", path: "/apis/metrics.k8s.io/"),
    ])
  func tooManyRequests(_ request: (method: String, path: String)) async throws {
    try await WebFleet.with("throttled") { fleet in
      try await fleet.settlesAtFive()
      let isMetrics = request.path.contains("metrics")
      let path = isMetrics ? "\(request.path).*/namespaces/NS/" : "/namespaces/NS\(request.path)"
      try await fleet.namespace.addRule(
        #"{"name":"429","method":"\#(request.method)","path":"\#(path)","times":1,"do":{"status":429,"headers":{"Retry-After":"3"}}}"#
      )
      try await fleet.converges(at: 12)
      let requests = try await fleet.namespace.proxied {
        $0.method == request.method && $0.path.contains(request.path) && $0.userAgent.hasSuffix("test-a")
      }
      let refused = try #require(requests.first { $0.rule == "429" })
      #expect(refused.status == 429)
      let next = try #require(requests.first { $0.number > refused.number })
      #expect(next.time - refused.time >= 3)
    }
  }

  @Test("A server that answers 500 to everything is asked with growing pauses, and served again when it recovers")
  func serverErrors() async throws {
    try await WebFleet.with("errors") { fleet in
      try await fleet.settlesAtFive()
      let mark = fleet.controller.mark
      try await fleet.namespace.addRule(
        #"{"name":"500","path":"/namespaces/NS/","userAgent":"test-a","do":{"status":500}}"#)
      try await fleet.namespace.dropWatches()
      try await fleet.namespace.setLoad("web", cpu: TestNamespace.total("9300m"))
      try await fleet.controller.awaitPass("three passes that fail", since: mark) { _ in
        fleet.controller.passes(of: "web", since: mark).filter { $0.trouble != nil }.count >= 3
      }
      let told = fleet.controller.log.lines.filter { $0.contains("warning web: can't read the scale") }
      #expect(told.count == 1)
      let refused = try await fleet.namespace.proxied { $0.rule == "500" }
      #expect(refused.count < 100)
      try await fleet.namespace.removeRules()
      try await fleet.converges(at: 12)
    }
  }

  @Test("A token that is replaced in its file is used without restart")
  func rotatedToken() async throws {
    var options = WebFleet.Options()
    options.goesThroughFaults = false
    options.kubeconfig = { namespace in
      try Self.setToken(namespace, namespace.state.tokens.invalid)
      return try TestKubeconfig.write(namespace, user: #"{"tokenFile":"\#(Self.tokenFile(namespace))"}"#)
    }
    try await WebFleet.with("token", options) { fleet in
      let (namespace, tokens) = (fleet.namespace, fleet.namespace.state.tokens)
      let reason = try await eventually("the reason for not being ready") {
        fleet.controller.service.notReadyReason.flatMap { $0.contains("under way") ? nil : $0 }
      }
      #expect(reason.contains("401"))
      #expect(reason.contains("Check the credentials"))
      try Self.setToken(namespace, tokens.admin)
      try await fleet.settlesAtFive()
      // The first token expires while the watches are open.
      let mark = fleet.controller.mark
      try Self.setToken(namespace, tokens.invalid)
      let pass = try await fleet.controller.awaitPass("a pass that is refused", since: mark) { $0.trouble != nil }
      #expect(pass.trouble?.message.contains("401") == true)
      try Self.setToken(namespace, tokens.adminSecond)
      try await fleet.converges(at: 12)
    }
  }

  private static func tokenFile(_ namespace: TestNamespace) -> String {
    namespace.plane.folder + "/token-\(namespace.name)"
  }

  private static func setToken(_ namespace: TestNamespace, _ token: String) throws {
    try Data(token.utf8).write(to: URL(fileURLWithPath: tokenFile(namespace)), options: .atomic)
  }
}
