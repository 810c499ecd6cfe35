import CoordinationProtocol
import MockClaude
import MockClaudeServer
import RateBudget
import SidecarServer
import SlowTests
import SwarmCoordination
import Testing

/// What the sidecar answers itself, and what never leaves it.
@Suite(.alone) struct EndpointTests {
  @Test("No key, prompt or completion reaches a log line, a metric or an answer of the sidecar's own")
  func secrets() async throws {
    let (key, token, prompt, completion) = ("sk-ant-PLANTED", "PLANTED-BEARER", "PLANTED-PROMPT", "PLANTED-COMPLETION")
    let stream = ScriptedUpstream.stream([
      #"{"type":"message_start","message":{"usage":{"input_tokens":3}}}"#,
      #"{"type":"content_block_delta","delta":{"type":"text_delta","text":"\#(completion)"}}"#,
      #"{"type":"message_delta","usage":{"output_tokens":2}}"#, #"{"type":"message_stop"}"#,
    ])
    let error = ScriptedUpstream.answer(
      "529 Overloaded", ["content-type: application/json"],
      body: #"{"error":{"type":"overloaded_error","message":"\#(completion)"}}"#)
    let script: ScriptedUpstream.Script = { index, _ in
      switch index % 4 {
      case 0: stream
      case 1: error
      case 2: ScriptedUpstream.limited(["retry-after: 1"])
      default: "garbage"
      }
    }
    try await Rig.withScript(script: script) { rig, _ in
      var seen = ""
      for round in 0..<8 {
        let headers = ["authorization: Bearer \(token)", "x-key: \(key)"]
        let body = round % 3 == 2 ? "{\"\(prompt)" : Rig.message(prompt, stream: true)
        seen += try await rig.exchange(Rig.request("POST /v1/messages?q=\(prompt)", body: body, headers: headers))
      }
      // The test would prove nothing if the secrets had never passed.
      #expect(seen.contains(completion))
      var own = rig.records.log
      for path in ["/metrics", "/healthz", "/v1/activity"] { own += try await rig.exchange(Rig.request("GET \(path)")) }
      #expect(own.contains("swarmscale_sidecar_requests_total") && own.contains("repeating an attempt"))
      #expect(!own.contains("PLANTED"))
    }
  }

  @Test("Health, metrics and activity are answered without the API")
  func local() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { rig, upstream in
      expectStatus(200, try await rig.exchange(Rig.request("GET /healthz")))
      _ = try await rig.send()
      let metrics = try await rig.exchange(Rig.request("GET /metrics"))
      #expect(metrics.contains(#"swarmscale_sidecar_requests_total{kind="metered",status="200"} 1"#))
      #expect(metrics.contains(#"swarmscale_sidecar_tokens_total{budget="wide",kind="output"} 3"#))
      let activity = try await rig.exchange(Rig.request("GET /v1/activity"))
      #expect(activity.contains(#""state":"idle","reported":null,"waiting":0,"inFlight":0"#))
      #expect(upstream.requests.count == 1)
    }
  }

  @Test("The kubelet's port has health, metrics and drain, with one slash or two, and never the API")
  func kubelet() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { rig, upstream in
      let port = try #require(rig.server.kubeletPort)
      for path in ["/healthz", "/metrics", "/v1/drain?timeout=5", "//v1/drain?timeout=5"] {
        expectStatus(200, try await rig.exchange(Rig.request("GET \(path)"), port: port))
      }
      for path in ["/v1/activity", "/v1/models", "/", "///healthz"] {
        expectStatus(404, try await rig.exchange(Rig.request("GET \(path)"), port: port))
      }
      expectStatus(404, try await rig.exchange(Rig.request(body: Rig.message("hello")), port: port))
      #expect(upstream.requests.isEmpty)
      #expect(try await rig.exchange(Rig.request("GET /v1/activity")).contains(#""draining":true"#))
    }
  }

  @Test("A drain waits for the worker's own word and for its requests, and says when time is over")
  func drain() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { rig, _ in
      func report(_ state: String) async throws {
        let answer = try await rig.exchange(Rig.request("POST /v1/activity", body: #"{"state":"\#(state)"}"#))
        #expect(answer.status == 200)
      }
      try await report("busy")
      let late = try await rig.exchange(Rig.request("POST /v1/drain?timeout=5"))
      #expect(late.status == 503 && late.contains(#""drained":false"#))
      async let drained = rig.exchange(Rig.request("GET /v1/drain?timeout=86400"))
      expectStatus(200, try await rig.send())
      try await report("idle")
      let answer = try await drained
      #expect(answer.contains(#"{"drained":true}"#))
      expectStatus(400, try await rig.exchange(Rig.request("POST /v1/activity", body: "{}")))
    }
  }

  @Test("Ready until the worker takes no work and has none; ready again with work, and when the order is taken back")
  func readiness() async throws {
    try await Rig.withMock(Rig.fast()) { rig, _ in
      let port = try #require(rig.server.kubeletPort)
      @Sendable func isReady() async throws -> Bool {
        let answers = (
          try await rig.exchange(Rig.request("GET /readyz")),
          try await rig.exchange(Rig.request("GET /readyz"), port: port)
        )
        #expect(answers.0.status == answers.1.status, "the kubelet hears the same")
        return answers.0.status == 200
      }
      func say(_ state: String) async throws {
        expectStatus(200, try await rig.exchange(Rig.request("POST /v1/activity", body: #"{"state":"\#(state)"}"#)))
      }
      #expect(try await isReady(), "serving")
      try await say("idle")
      #expect(try await isReady(), "idle, and free to take work")
      try await say("busy")
      rig.pool.receive(DrainOrder(order: 1, timeout: .seconds(3_600)))
      #expect(try await isReady(), "it drains, and is at work")
      try await say("idle")
      let drained = try await rig.exchange(Rig.request("GET /readyz"))
      #expect(drained.status == 503 && drained.hasSuffix("drained\n"))
      try await say("busy")
      #expect(try await isReady(), "at work again: nobody may take it for removable")
      try await say("idle")
      rig.pool.receive(DrainOrder(order: 1, timeout: .zero, isWithdrawn: true))
      #expect(try await isReady(), "taken back")
      rig.pool.receive(DrainOrder(order: 2, timeout: .seconds(3_600)))
      #expect(try await !isReady())
      // What is on its way through the sidecar is work as well, whatever the worker says.
      _ = try await rig.exchange(Rig.request(body: Rig.message("<<out=2000>>", stream: true), closing: false)) {
        guard $0.contains("message_start") else { return false }
        #expect((try? await isReady()) == true, "a request is on its way")
        return true
      }
      await rig.until { !rig.pool.isBusy }
      #expect(try await !isReady())
    }
  }

  @Test("A worker that says nothing is unready once it drains and has asked for nothing for ten seconds")
  func readinessOfASilentWorker() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { rig, _ in
      expectStatus(200, try await rig.send())
      rig.pool.receive(DrainOrder(order: 1, timeout: .seconds(86_400)))
      // The clock runs a hundred times as fast.
      while try await rig.exchange(Rig.request("GET /readyz")).status == 200 {}
      #expect(rig.pool.isDrained)
      rig.pool.receive(DrainOrder(order: 1, timeout: .zero, isWithdrawn: true))
      expectStatus(200, try await rig.exchange(Rig.request("GET /readyz")))
      expectStatus(200, try await rig.exchange(Rig.request("GET /v1/drain?timeout=5")))
      while try await rig.exchange(Rig.request("GET /readyz")).status == 200 {}
      #expect(rig.pool.isDraining, "for good: the pod ends")
    }
  }

  @Test("A connection carries several requests, one after another")
  func keepAlive() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { rig, upstream in
      let first = Rig.request(body: Rig.message("one"), closing: false)
      let answers = try await rig.exchange(first + Rig.request(body: Rig.message("two")))
      #expect(answers.count(of: "HTTP/1.1 200 OK") == 2)
      #expect(upstream.requests.count == 2)
    }
  }

  @Test("A stop lets a stream finish, takes no new connections and ends")
  func stop() async throws {
    var configuration = Rig.fast()
    configuration.pace.tokensPerSecond = 100
    try await Rig.withMock(configuration) { rig, _ in
      let answer = try await rig.exchange(Rig.request(body: Rig.message("<<out=500>>", stream: true), closing: false)) {
        if $0.contains("message_start") { rig.server.stop() }
        return false
      }
      #expect(answer.contains("message_stop"))
      await #expect(throws: (any Error).self) { try await rig.send() }
    }
  }
}
