import ControllerCommand
import KubernetesCore
import KubernetesRuntime
import Logging
import ScalingController
import Synchronization
import TestSupport
import Testing

/// The leader's label, over an API server in memory.
struct LeaderLabelTests {
  private final class Server: APITransport {
    struct State {
      /// Each pod's label; nil: none.
      var pods: [String: String?] = [:]
      var patches: [String] = []
      var isForbidden = false
    }
    let state = Mutex(State())

    func send(_ request: APIRequest) async throws -> APIResponse {
      state.withLock { state in
        if state.isForbidden { return Self.answer(403, ["kind": "Status", "reason": "Forbidden", "code": 403]) }
        guard request.method == .patch else {
          #expect(request.target == "/api/v1/namespaces/system/pods?labelSelector=swarmscale.dev%2Fleader%3Dlease")
          let names = state.pods.filter { $0.value == "lease" }.keys.sorted()
          return Self.answer(200, ["items": .array(names.map { ["metadata": ["name": .string($0)]] })])
        }
        let name = String(request.path.split(separator: "/").last ?? "")
        guard state.pods[name] != nil else {
          return Self.answer(404, ["kind": "Status", "reason": "NotFound", "code": 404])
        }
        let label = try? KubernetesJSON.parse(request.body ?? [])[path: ["metadata", "labels", LeaderLabel.name]]
        state.pods[name] = .some(label?.stringValue)
        state.patches.append("\(name)=\(label?.stringValue ?? "-")")
        return Self.answer(200, [:])
      }
    }

    private static func answer(_ status: Int, _ body: JSONValue) -> APIResponse {
      APIResponse(
        head: APIResponseHead(status: status, headers: [.init("Content-Type", "application/json")]), body: body.text)
    }

    func withStream<Result: Sendable>(
      _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
    ) async throws -> Result { throw KubernetesError(.notSupported, "no streams here") }
  }

  private func label(_ server: Server, _ time: ManualTimeSource) -> LeaderLabel {
    LeaderLabel(
      pod: ObjectKey(namespace: "system", name: "new"), value: "lease",
      client: APIClient(transport: server, time: time, retryPolicy: .never), time: time,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  @Test("The label is taken off the leader of before, then given to this one; another installation's stays")
  func takeover() async throws {
    let (server, time) = (Server(), ManualTimeSource())
    server.state.withLock { $0.pods = ["old": "lease", "new": nil, "other": "another-lease"] }
    let label = label(server, time)
    try await label.mark()
    #expect(server.state.withLock { $0.patches } == ["old=-", "new=lease"])
    #expect(server.state.withLock { $0.pods["other"] } == "another-lease")
    try await label.mark()
    #expect(server.state.withLock { $0.patches.count } == 2, "what is right is left alone")
  }

  @Test("A label that somebody took off comes back, and one that can't be set is tried again")
  func again() async {
    let (server, time) = (Server(), ManualTimeSource())
    server.state.withLock { state in
      state.pods = ["new": nil]
      state.isForbidden = true
    }
    let label = label(server, time)
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        await #expect(throws: CancellationError.self) {
          try await label.lead(Leadership(mayAct: { true }, wake: { _ in }, podUID: { _ in nil }))
        }
      }
      await time.waitForSleepers(count: 1)
      #expect(server.state.withLock { $0.patches } == [])
      server.state.withLock { $0.isForbidden = false }
      time.advance(by: .seconds(5))
      await time.waitForSleepers(count: 1)
      #expect(server.state.withLock { $0.patches } == ["new=lease"])
      server.state.withLock { $0.pods["new"] = .some(nil) }
      time.advance(by: .seconds(60))
      await time.waitForSleepers(count: 1)
      #expect(server.state.withLock { $0.patches } == ["new=lease", "new=lease"])
      group.cancelAll()
    }
  }
}
