import Foundation
import KubernetesClient
import KubernetesCore
import KubernetesRuntime
import ScalingController
import TestSupport
import Testing

/// How requests travel to the real API server: HTTP/2, credentials of a plugin, and what waits for what.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(5)))
struct ConnectionControlPlaneTests {
  @Test("Watches and requests share one connection: HTTP/2 carries them side by side")
  func multiplexed() async throws {
    try await TestNamespace.with("http2") { namespace in
      let connection = try TestConnection(kubeconfig: namespace.state.kubeconfig)
      let transport = connection.transport
      let path = "/api/v1/namespaces/\(namespace.name)/configmaps"
      let opened = Gate()
      let done = Gate()
      try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<20 {
          group.addTask {
            let watch = APIRequest(path: path, query: [.init("watch", "true")], timeout: .seconds(240))
            return try await transport.withStream(watch) { head, stream in
              if transport.statistics.streamsInFlight == 20 { opened.open() }
              // The first event shows that the stream lives; what comes before `done` shows that it stayed open.
              for try await _ in stream { break }
              try await done.wait()
              return head.status
            }
          }
        }
        try await opened.wait()
        // Forty requests while twenty streams are open.
        try await withThrowingTaskGroup(of: Void.self) { requests in
          for number in 0..<40 {
            requests.addTask { try await connection.send(.get, "\(path)?limit=\(number + 1)") }
          }
          try await requests.waitForAll()
        }
        #expect(transport.statistics.streamsInFlight == 20)
        // HTTP/1.1 would need one for each stream.
        #expect(transport.statistics.connectionsOpened == 1)
        // One change reaches all of them.
        try await connection.send(.post, path, #"{"metadata":{"name":"news"}}"#)
        done.open()
        for try await status in group { #expect(status == 200) }
      }
      await transport.shutdown()
    }
  }

  @Test("An exec plugin is asked again after a 401, and its token is used and kept once it is good")
  func execPlugin() async throws {
    var options = WebFleet.Options()
    options.goesThroughFaults = false
    options.kubeconfig = { namespace in
      let plugin = Self.plugin(namespace)
      try Self.setToken(namespace, namespace.state.tokens.invalid)
      let script = """
        #!/bin/sh
        echo asked >> '\(plugin).calls'
        read -r token < '\(plugin).token'
        printf '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"%s"}}' "$token"
        """
      try Data(script.utf8).write(to: URL(fileURLWithPath: plugin))
      try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: plugin)
      return try TestKubeconfig.write(
        namespace,
        user:
          #"{"exec":{"apiVersion":"client.authentication.k8s.io/v1beta1","command":"\#(plugin)","interactiveMode":"Never"}}"#
      )
    }
    try await WebFleet.with("exec-plugin", options) { fleet in
      let reason = try await eventually("the reason for not being ready") {
        fleet.controller.service.notReadyReason.flatMap { $0.contains("401") ? $0 : nil }
      }
      #expect(reason.contains("Check the credentials"))
      try Self.setToken(fleet.namespace, fleet.namespace.state.tokens.adminSecond)
      try await fleet.settlesAtFive()
      let calls = try Self.calls(fleet.namespace)
      #expect(calls >= 2)
      // Dozens of requests, and no further run.
      try await fleet.converges(at: 12)
      #expect(try Self.calls(fleet.namespace) == calls)
    }
  }

  private static func plugin(_ namespace: TestNamespace) -> String {
    namespace.plane.folder + "/plugin-\(namespace.name)"
  }

  private static func setToken(_ namespace: TestNamespace, _ token: String) throws {
    try Data("\(token)\n".utf8).write(to: URL(fileURLWithPath: plugin(namespace) + ".token"), options: .atomic)
  }

  private static func calls(_ namespace: TestNamespace) throws -> Int {
    try String(contentsOfFile: plugin(namespace) + ".calls", encoding: .utf8).split(separator: "\n").count
  }

  @Test(
    "A server that is slow with 429s gets the writes of scales at once, and status and events when it asked for them")
  func writesFirst() async throws {
    try await WebFleet.with("writes-first") { fleet in
      let namespace = fleet.namespace
      try await namespace.createDeployment("other", replicas: 5)
      try await namespace.setLoad("other", cpu: TestNamespace.total("3900m"))
      try await namespace.createAutoscaler(
        "other", spec: "{\(deploymentReference("other")),\"metrics\":[\(band("cpu"))],\(immediateBehavior)}")
      try await fleet.settlesAtFive()
      try await fleet.controller.awaitSettled("other", at: 5)
      try await namespace.addRule(
        #"{"name":"busy","method":"PATCH","path":"/swarmautoscalers/web/status","times":1,"do":{"status":429,"headers":{"Retry-After":"8"}}}"#
      )
      // One status is refused, for eight seconds.
      try await namespace.setLoad("web", cpu: TestNamespace.total("9300m"))
      let refused = try await eventually("a status that is refused") {
        try await namespace.proxied { $0.rule == "busy" }.first
      }
      // In that time a count has to change.
      try await namespace.setLoad("other", cpu: TestNamespace.total("9300m"))
      let written = try await eventually("the write of the other's scale") {
        try await namespace.scaleWrites(of: "other").first { $0.status == 200 }
      }
      #expect(written.time - refused.time < 8)
      try await fleet.controller.awaitSettled("web", at: 12)
      try await fleet.controller.awaitSettled("other", at: 12)
      let later = try await eventually("status and events") {
        let late = try await namespace.proxied { request in
          request.number > refused.number
            && (request.path.contains("/status") || (request.method == "POST" && request.path.contains("/events")))
        }
        return late.count >= 3 ? late : nil
      }
      // What came within a second of the refusal was under way before its answer had arrived.
      let pauses = later.map { $0.time - refused.time }
      #expect(pauses.allSatisfy { $0 < 1 || $0 >= 8 }, "\(later)")
    }
  }
}
