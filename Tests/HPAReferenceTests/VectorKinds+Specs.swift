import HPAReference
import KubernetesCore

struct SpecInput: Decodable {
  var spec: HPASpec
  var scaleToZeroEnabled: Bool?

  enum CodingKeys: String, CodingKey {
    case spec
    case scaleToZeroEnabled = "scale_to_zero_enabled"
  }
}

struct SpecExpectation: Decodable {
  var spec: HPASpec
}

enum DefaultsVectors: VectorKind {
  static func check(_ input: SpecInput, _ expected: SpecExpectation, _ differences: inout Differences) {
    differences.compare("spec", HPADefaults.applied(to: input.spec), expected.spec)
  }
}

struct ValidationExpectation: Decodable {
  struct Problem: Decodable {
    var field: String
    var type: String
  }

  var valid: Bool
  var errors: [Problem]
}

enum ValidationVectors: VectorKind {
  static func check(_ input: SpecInput, _ expected: ValidationExpectation, _ differences: inout Differences) {
    let problems = HPAValidation.problems(
      in: HPADefaults.applied(to: input.spec), scaleToZeroEnabled: input.scaleToZeroEnabled ?? false)
    differences.compare(
      "errors", problems.map { "\($0.field) \($0.type.rawValue)" }.sorted(),
      expected.errors.map { "\($0.field) \($0.type)" }.sorted())
    differences.compare("valid", problems.isEmpty, expected.valid)
  }
}

struct ResourceMetricsInput: Decodable {
  struct Item: Decodable {
    struct Container: Decodable {
      var name: String
      var usage: [String: HPAQuantity]
    }

    var pod: String
    var timestamp: Seconds
    var window: Seconds
    var containers: [Container]

    enum CodingKeys: String, CodingKey {
      case pod, containers
      case timestamp = "timestamp_s"
      case window = "window_s"
    }

    var item: HPAResourceMetrics.Item {
      HPAResourceMetrics.Item(
        pod: pod, timestamp: timestamp.timestamp(relativeTo: vectorNow), window: window.duration,
        containers: containers.map { HPAResourceMetrics.Container(name: $0.name, usage: $0.usage) })
    }
  }

  var resource: String
  var container: String
  var items: [Item]
}

struct ResourceMetricsExpectation: Decodable {
  var metrics: [String: VectorMetric]?
  var error: VectorError?
}

enum ResourceMetricsVectors: VectorKind {
  static func check(
    _ input: ResourceMetricsInput, _ expected: ResourceMetricsExpectation, _ differences: inout Differences
  ) {
    do throws(HPASourceError) {
      let metrics = try HPAResourceMetrics.podMetrics(
        input.items.map(\.item), resource: input.resource, container: input.container)
      differences.compare("error kind", nil, expected.error?.kind)
      differences.compare("metrics", metrics, (expected.metrics ?? [:]).mapValues { $0.metric(now: vectorNow) })
    } catch {
      differences.compare("error kind", "metrics_unavailable", expected.error?.kind)
    }
  }
}
