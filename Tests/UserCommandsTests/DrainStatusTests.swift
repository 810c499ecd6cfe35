import KubernetesCore
import ScalingAPI
import TestSupport
import Testing

@testable import UserCommands

@Suite("Status of drains") struct DrainStatusTests {
  private func pod(_ name: String, ready: Bool, cost: String? = nil, isDeleting: Bool = false) throws -> Pod {
    let annotation = cost.map { #","annotations":{"\#(Pod.deletionCostAnnotation)":"\#($0)"}"# } ?? ""
    let deletion = isDeleting ? #","deletionTimestamp":"2026-06-01T06:00:00Z""# : ""
    let text = #"""
      {"metadata":{"name":"\#(name)","namespace":"team"\#(annotation)\#(deletion)},"status":{"phase":"Running",
       "conditions":[{"type":"Ready","status":"\#(ready ? "True" : "False")"}]}}
      """#
    return try KubernetesJSON.decode(Pod.self, from: Array(text.utf8))
  }

  private func autoscaler(_ conditions: String) throws -> SwarmAutoscaler {
    let text = #"""
      {"metadata":{"name":"reviewers","namespace":"team"},"status":{"currentReplicas":8,"desiredReplicas":5,
       "conditions":[\#(conditions)]}}
      """#
    return SwarmAutoscaler(try KubernetesJSON.decode(JSONValue.self, from: Array(text.utf8)))
  }

  @Test("Those that go first stand first, and what holds the shrink is told")
  func table() throws {
    let fleet = DrainStatus(
      try autoscaler(#"{"type":"Draining","status":"True","reason":"WorkersDrain","message":"2 busy workers drain"}"#),
      pods: [
        try pod("c", ready: true, cost: "110"), try pod("b", ready: false), try pod("d", ready: false, cost: "-1000"),
        try pod("a", ready: true, isDeleting: true),
      ])
    #expect(fleet.pods.map(\.name) == ["a", "d", "b", "c"])
    #expect(
      DrainStatus.table([fleet]) == [
        "NAMESPACE   NAME        REPLICAS   DESIRED   DRAINING   MARKED   TERMINATING",
        "team        reviewers   8          5         True       1        1", "WorkersDrain: 2 busy workers drain", "",
        "POD   STATE         COST", "a     terminating", "d     marked        -1000", "b     unready",
        "c     ready         110",
      ])
  }

  @Test("A fleet at rest says so; exposed work is told")
  func rest() throws {
    let fleet = DrainStatus(
      try autoscaler(
        #"{"type":"Draining","status":"False"},{"type":"WorkExposed","status":"True","reason":"NoReports"}"#),
      pods: [])
    #expect(!fleet.isDraining && fleet.message.isEmpty && fleet.exposure == "NoReports: ")
    #expect(DrainStatus.table([fleet, fleet]).count == 5)
  }
}
