import HPAReference
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct HPASpecTests {
  private static func spec(_ json: String) throws -> HPASpec {
    try JSONDecoder().decode(HPASpec.self, from: Data(json.utf8))
  }

  @Test(
    "an empty list of metrics is defaulted like a missing one",
    arguments: ["", #", "metrics": []"#, #", "metrics": null"#])
  func emptyMetrics(metrics: String) throws {
    let spec = try Self.spec(#"{"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3\#(metrics)}"#)
    let defaulted = HPADefaults.applied(to: spec)
    #expect(defaulted.minReplicas == 1)
    #expect(defaulted.metrics?.map(\.type) == [.resource])
    #expect(defaulted.metrics?.first?.resource?.target.averageUtilization == 80)
    #expect(defaulted.behavior == nil)
  }

  @Test("an empty list of policies is not defaulted, so that validation finds it")
  func emptyPolicies() throws {
    let spec = try Self.spec(
      #"{"scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}, "maxReplicas": 3, "#
        + #""behavior": {"scaleUp": {"policies": []}}}"#)
    let defaulted = HPADefaults.applied(to: spec)
    #expect(defaulted.behavior?.scaleUp?.policies == [])
    #expect(defaulted.behavior?.scaleDown == HPADefaults.scaleDownRules)
    #expect(
      HPAValidation.problems(in: defaulted).map { "\($0.field) \($0.type)" }
        == ["spec.behavior.scaleUp.policies required"])
  }

  @Test("a spec that lacks everything can be read, and each lack is found")
  func emptySpec() throws {
    let spec = HPADefaults.applied(to: try Self.spec(#"{"metrics": [{"object": {}}]}"#))
    #expect(
      Set(HPAValidation.problems(in: spec).map { "\($0.field) \($0.type)" }) == [
        "spec.maxReplicas required", "spec.maxReplicas invalid", "spec.scaleTargetRef.kind required",
        "spec.scaleTargetRef.name required", "spec.scaleTargetRef.apiVersion invalid", "spec.metrics[0].type required",
        "spec.metrics[0].type notSupported", "spec.metrics[0].object.describedObject.kind required",
        "spec.metrics[0].object.describedObject.name required", "spec.metrics[0].object.metric.name required",
        "spec.metrics[0].object.target.type required", "spec.metrics[0].object.target.type invalid",
        "spec.metrics[0].object.target.averageValue required",
      ])
  }

  @Test("a spec that is written can be read again")
  func roundTrip() throws {
    let spec = try Self.spec(
      #"{"scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}, "minReplicas": 0, "#
        + #""maxReplicas": 3, "metrics": [{"type": "External", "external": {"metric": {"name": "queue", "selector": "#
        + #"{"matchLabels": {"a": "b"}}}, "target": {"type": "Value", "value": "500m"}}}], "#
        + #""behavior": {"scaleDown": {"tolerance": "50m", "policies": "#
        + #"[{"type": "Pods", "value": 1, "periodSeconds": 9}]}}}"#
    )
    #expect(try JSONDecoder().decode(HPASpec.self, from: JSONEncoder().encode(spec)) == spec)
    #expect(spec.behavior?.scaleDown?.tolerance?.milliValue == 50)
  }

  @Test(
    "names of container resources are checked as Kubernetes does",
    arguments: [
      ("cpu", 0), ("hugepages-2Mi", 0), ("example.com/gpu", 0), ("gpu", 2), ("pods", 1),
      ("requests.example.com/gpu", 1),
      ("a/b/c", 2), ("-cpu", 2),
    ])
  func containerResourceNames(name: String, expected: Int) {
    let source = HPAResourceSource(
      name: name, target: HPAMetricTarget(type: .utilization, averageUtilization: 50), container: "app")
    let spec = HPASpec(
      scaleTargetRef: HPAObjectReference(kind: "Deployment", name: "web", apiVersion: "apps/v1"), maxReplicas: 3,
      metrics: [HPAMetricSpec(type: .containerResource, containerResource: source)])
    let problems = HPAValidation.problems(in: spec)
    #expect(problems.count == expected)
    #expect(problems.allSatisfy { $0.field == "spec.metrics[0].containerResource.name" && $0.type == .invalid })
  }
}
