import Foundation
import KubernetesCore
import TestSupport

/// One request as the fault proxy saw it.
struct ProxiedRequest: Decodable, Sendable {
  var number: Int
  /// Seconds since 1970 at which it came.
  var time: Double
  var method: String
  var path: String
  var kind: String
  var userAgent: String
  /// The rule that took it.
  var rule: String?
  /// The status that was answered; 0 for none yet.
  var status: Int
  /// What the server answered, also where that got lost; 0 for nothing yet.
  var upstream: Int
  /// `open`, `complete`, `dropped`, `stalled` and so on.
  var end: String
}

/// The fault proxy, as Tests/Cluster/README.md describes it.
extension TestNamespace {
  /// The kubeconfig that leads through the fault proxy.
  var kubeconfigFaults: String {
    get throws { try unwrap(state.kubeconfigFaults, "the control plane has no fault proxy") }
  }

  private func proxy(_ method: APIRequest.Method, _ path: String, _ json: String? = nil) async throws -> String {
    try await unwrap(faults, "the control plane has no fault proxy").send(method, path, json)
  }

  /// Adds a rule. In `path`, `NS` stands for this namespace's name.
  func addRule(_ rule: String) async throws {
    _ = try await proxy(.post, "/rules", rule.replacingOccurrences(of: "NS", with: name))
  }

  /// Removes all rules.
  func removeRules() async throws { _ = try await proxy(.delete, "/rules") }

  /// Resets the watches of this namespace that are open now.
  func dropWatches() async throws { _ = try await proxy(.post, "/drop", #"{"path":"\#(name)","watch":true}"#) }

  /// Freezes the watches of this namespace that are open now: nothing comes through, nothing is closed.
  func stallWatches() async throws { _ = try await proxy(.post, "/stall", #"{"path":"\#(name)","watch":true}"#) }

  /// The requests about this namespace that `predicate` picks, oldest first.
  func proxied(where predicate: (ProxiedRequest) -> Bool) async throws -> [ProxiedRequest] {
    let text = try await proxy(.get, "/log?match=namespaces/\(name)/")
    return try JSONDecoder().decode([ProxiedRequest].self, from: Data(text.utf8)).filter(predicate)
  }

  /// The attempts to write the scale of a Deployment.
  func scaleWrites(of deployment: String = "web") async throws -> [ProxiedRequest] {
    try await proxied { $0.method == "PUT" && $0.path.contains("/deployments/\(deployment)/scale") }
  }

  /// The JSON of a `Status` for a rule's body.
  static func status(_ code: Int, _ reason: String, _ message: String) -> String {
    #"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":\#(code),"reason":"\#(reason)","message":"\#(message)"}"#
  }
}
