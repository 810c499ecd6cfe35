import KubernetesCore
import ScalingAPI
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// One vector of `hpa_validate` or `hpa_defaults`, computed by the real HPA of Kubernetes 1.36.
struct HPAVector: Decodable {
  var id: String
  var input: Input
  var expected: Expected

  struct Input: Decodable {
    var spec: JSONValue
    var scale_to_zero_enabled: Bool?
  }

  struct Expected: Decodable {
    var spec: JSONValue?
    var valid: Bool?
    var errors: [Finding]?
  }

  struct Finding: Decodable {
    var field: String
  }

  static func load(_ kind: String) throws -> [HPAVector] {
    try KubernetesJSON.decode([HPAVector].self, from: repositoryFile("Tests/HPAReferenceTests/Vectors/\(kind).json"))
  }
}

/// The bytes of a file of the repository.
func repositoryFile(_ path: String) throws -> [UInt8] {
  let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  return [UInt8](try Data(contentsOf: root.appending(path: path)))
}

func autoscaler(spec: JSONValue) -> SwarmAutoscaler {
  SwarmAutoscaler([
    "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler",
    "metadata": ["name": "web", "namespace": "default"], "spec": spec,
  ])
}

@Suite("Against the HPA's own validation and defaults")
struct VectorTests {
  /// The documented difference: `minReplicas: 0` is judged as with the gate HPAScaleToZero on, whatever the gate is.
  private static func isGated(_ vector: HPAVector) -> Bool {
    vector.input.spec["minReplicas"]?.intValue == 0 && vector.input.scale_to_zero_enabled == false
  }

  /// The documented difference: where a metric has two sources, the HPA looks into one of them only; here the one that
  /// `type` names is always checked, so a second fault of the same metric is reported too.
  private static let alsoReported = ["hpa_validate-0151": ["spec.metrics[0].resource.target.value"]]

  @Test("what the HPA accepts is accepted, and what it refuses is refused at the same fields")
  func verdicts() throws {
    let vectors = try HPAVector.load("hpa_validate")
    var counts = (valid: 0, invalid: 0)
    for vector in vectors {
      let issues = autoscaler(spec: vector.input.spec).validate()
      let found = Set(issues.errors.map(\.path))
      var wanted = Set((vector.expected.errors ?? []).map(\.field))
      if Self.isGated(vector) { wanted.remove("spec.minReplicas") }
      wanted.formUnion(Self.alsoReported[vector.id] ?? [])
      #expect(found == wanted, "\(vector.id): \(issues)")
      if wanted.isEmpty { counts.valid += 1 } else { counts.invalid += 1 }
    }
    #expect(counts.valid >= 46 && counts.invalid >= 85 && counts.valid + counts.invalid == 140)
  }

  @Test("behaviour gets the HPA's defaults")
  func behaviorDefaults() throws {
    let vectors = try HPAVector.load("hpa_defaults")
    var compared = 0
    for vector in vectors {
      let wanted = try #require(vector.expected.spec)
      let object = autoscaler(spec: vector.input.spec)
      let resolved = try object.resolved()
      #expect(Int64(resolved.maxReplicas) == wanted["maxReplicas"]?.intValue, "\(vector.id)")
      guard wanted["behavior"] != nil, wanted["behavior"] != .null else { continue }
      for (key, rules) in [("scaleUp", resolved.scaleUp), ("scaleDown", resolved.scaleDown)] {
        let expected = autoscaler(spec: ["behavior": wanted["behavior"] ?? .null]).spec.behavior
        let side = try #require(key == "scaleUp" ? expected?.scaleUp : expected?.scaleDown)
        #expect(rules.selectPolicy == side.selectPolicy?.known, "\(vector.id)")
        #expect(rules.policies.map(\.type) == side.policies?.map { $0.type?.known }, "\(vector.id)")
        #expect(rules.policies.map(\.value) == side.policies?.map { $0.value }, "\(vector.id)")
        #expect(
          rules.policies.map { Int32($0.period.components.seconds) } == side.policies?.map { $0.periodSeconds },
          "\(vector.id)")
        #expect(
          rules.stabilizationWindow == .seconds(Int64(side.stabilizationWindowSeconds ?? 300)), "\(vector.id)")
        #expect(rules.tolerance == side.tolerance ?? Quantity(milliValue: 100), "\(vector.id)")
        compared += 1
      }
    }
    #expect(vectors.count == 70 && compared > 50)
  }

  @Test("an HPA without a minimum gets 5, or its maximum where that is smaller")
  func minimumDefault() throws {
    for vector in try HPAVector.load("hpa_defaults") where vector.input.spec["minReplicas"] == nil {
      let resolved = try autoscaler(spec: vector.input.spec).resolved()
      #expect(resolved.minReplicas == min(5, resolved.maxReplicas), "\(vector.id)")
    }
  }
}
