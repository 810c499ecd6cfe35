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
    var type: String
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

  /// The API machinery's name of a finding's kind.
  private static func type(_ kind: FieldIssue.Kind) -> String {
    switch kind {
    case .required: "FieldValueRequired"
    case .invalid: "FieldValueInvalid"
    case .notSupported: "FieldValueNotSupported"
    case .forbidden: "FieldValueForbidden"
    case .duplicate, .unknownField, .wrongType, .advice: kind.rawValue
    }
  }

  @Test(
    "what the HPA accepts is accepted, and what it refuses is refused at the same fields for the same kind of fault")
  func verdicts() throws {
    let vectors = try HPAVector.load("hpa_validate")
    var counts = (valid: 0, invalid: 0)
    var seen: [String: Int] = [:]
    var differing = 0
    for vector in vectors {
      let errors = autoscaler(spec: vector.input.spec).validate().errors
      let found = Set(errors.map { "\($0.path) \(Self.type($0.kind))" })
      let theirs = Set((vector.expected.errors ?? []).map { "\($0.field) \($0.type)" })
      var wanted = theirs
      var reasons: [String] = []
      if Self.isGated(vector) {
        wanted = wanted.filter { !$0.hasPrefix("spec.minReplicas ") }
        if wanted != theirs { reasons.append("gate of minReplicas 0") }
      }
      if let second = Self.alsoReported[vector.id] {
        wanted.formUnion(second.map { "\($0) FieldValueInvalid" })
        reasons.append("second source")
      }
      // The HPA calls a field that is missing invalid or unsupported as well; here one mistake makes one finding.
      for path in Set(errors.filter { wanted.contains("\($0.path) \(Self.type($0.kind))") }.map(\.path)) {
        let others = wanted.filter { $0.hasPrefix("\(path) ") && !found.contains($0) }
        guard !others.isEmpty else { continue }
        wanted.subtract(others)
        reasons.append("one mistake, one finding")
      }
      #expect(found == wanted, "\(vector.id): \(errors)")
      if found.isEmpty { counts.valid += 1 } else { counts.invalid += 1 }
      if !reasons.isEmpty { differing += 1 }
      for reason in reasons { seen[reason, default: 0] += 1 }
    }
    print("HPA vectors on the product's path: hpa_validate \(vectors.count), \(differing) differ: \(seen)")
    #expect(vectors.count == 140)
    #expect(counts == (46, 94))
    #expect(differing == 13)
    #expect(seen == ["one mistake, one finding": 8, "gate of minReplicas 0": 5, "second source": 1])
  }

  @Test("Every default is the HPA's, or one of three that are documented")
  func defaults() throws {
    let vectors = try HPAVector.load("hpa_defaults")
    var seen: [String: Int] = [:]
    var differing = 0
    for vector in vectors {
      let given = vector.input.spec
      let wanted = try #require(vector.expected.spec)
      let ours = try autoscaler(spec: given).resolved()
      // The HPA's spec says everything, so that nothing is left to default but what it leaves out itself.
      let theirs = try autoscaler(spec: wanted).resolved()
      var reasons: [String] = []
      if ours.minReplicas != theirs.minReplicas {
        #expect(given["minReplicas"] == nil && ours.minReplicas == min(5, ours.maxReplicas), "\(vector.id)")
        reasons.append("minReplicas left out")
      }
      if ours.metrics != theirs.metrics {
        #expect(given["metrics"] == nil && ours.metrics == ResolvedAutoscaler.defaultMetrics, "\(vector.id)")
        reasons.append("metrics left out")
      }
      if wanted["behavior"] == nil || wanted["behavior"] == .null {
        // There is one path: without `behavior` its defaults hold, which the HPA leaves out.
        #expect(!ours.hasBehavior && given["behavior"] == nil, "\(vector.id)")
        reasons.append("behavior left out")
      }
      #expect(ours.scaleUp == theirs.scaleUp && ours.scaleDown == theirs.scaleDown, "\(vector.id)")
      #expect(ours.maxReplicas == theirs.maxReplicas && ours.target == theirs.target, "\(vector.id)")
      if !reasons.isEmpty { differing += 1 }
      for reason in reasons { seen[reason, default: 0] += 1 }
    }
    print("HPA vectors on the product's path: hpa_defaults \(vectors.count), \(differing) differ: \(seen)")
    #expect(vectors.count == 70)
    #expect(differing == 46)
    #expect(seen == ["minReplicas left out": 30, "metrics left out": 18, "behavior left out": 13])
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
