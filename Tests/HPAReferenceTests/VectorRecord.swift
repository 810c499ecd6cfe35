#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// One family of vectors: how its input and expectation are read, and how the two are compared.
protocol VectorKind: SendableMetatype {
  associatedtype Input: Decodable
  associatedtype Expected: Decodable
  /// Runs the reference on `input` and notes each difference from `expected`.
  static func check(_ input: Input, _ expected: Expected, _ differences: inout Differences)
}

/// What a vector's result has wrong.
struct Differences {
  private(set) var list: [String] = []

  mutating func compare<Value: Equatable>(_ what: String, _ actual: Value, _ expected: Value) {
    if actual != expected { list.append("\(what) is \(actual), Kubernetes has \(expected)") }
  }

  mutating func note(_ difference: String) { list.append(difference) }
}

/// A vector that has been read and run; decoding one runs it, so that each file is read once.
struct VectorRecord: Decodable {
  var id: String
  var kind: String
  var note: String
  var differences: [String]

  private enum CodingKeys: String, CodingKey { case id, kind, note, input, expected }

  /// Every kind that vectors have.
  static let kinds: [String: any VectorKind.Type] = [
    "calc_resource_utilization": ResourceUtilizationVectors.self, "calc_resource_raw": RawResourceVectors.self,
    "calc_pods": PodsMetricVectors.self, "calc_object": ObjectMetricVectors.self,
    "calc_object_per_pod": ObjectPerPodVectors.self, "calc_external": ExternalMetricVectors.self,
    "calc_external_per_pod": ExternalPerPodVectors.self, "behavior_stabilize": StabilizeVectors.self,
    "behavior_rate": RateVectors.self, "behavior_normalize": NormalizeVectors.self,
    "legacy_normalize": LegacyNormalizeVectors.self, "store_scale_event": StoreScaleEventVectors.self,
    "hpa_defaults": DefaultsVectors.self, "hpa_validate": ValidationVectors.self,
    "metrics_resource": ResourceMetricsVectors.self, "reconcile": ReconcileVectors.self,
    "reconcile_sequence": ReconcileSequenceVectors.self,
  ]

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    id = try container.decode(String.self, forKey: .id)
    kind = try container.decode(String.self, forKey: .kind)
    note = try container.decode(String.self, forKey: .note)
    if let type = Self.kinds[kind] {
      differences = try Self.run(type, container)
    } else {
      differences = ["no runner for the kind \(kind)"]
    }
  }

  private static func run<Kind: VectorKind>(
    _ kind: Kind.Type, _ container: KeyedDecodingContainer<CodingKeys>
  ) throws -> [String] {
    let input = try container.decode(Kind.Input.self, forKey: .input)
    let expected = try container.decode(Kind.Expected.self, forKey: .expected)
    var differences = Differences()
    Kind.check(input, expected, &differences)
    return differences.list
  }
}

/// All vectors of a folder, run once.
struct VectorReport: Sendable {
  /// How many vectors of each kind ran, kinds without a runner included.
  var counts: [String: Int] = [:]
  /// One line for each vector that differs, by kind.
  var failures: [String: [String]] = [:]
  /// Files that could not be read.
  var unreadable: [String] = []

  /// The folder of vectors that stands beside these tests.
  static let builtInFolder =
    String(#filePath.prefix(upTo: #filePath.lastIndex(of: "/") ?? #filePath.endIndex)) + "/Vectors"

  /// The folder that `HPA_VECTORS` names instead, if it does.
  static let otherFolder = ProcessInfo.processInfo.environment["HPA_VECTORS"]

  /// The one run that all tests look at.
  static let shared = VectorReport(folder: otherFolder ?? builtInFolder)

  init(folder: String) {
    do {
      let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".json") }
      if files.isEmpty { unreadable.append("\(folder) has no JSON file; HPA_VECTORS must name a folder of vectors") }
      for file in files.sorted() { read(file: "\(folder)/\(file)") }
    } catch {
      unreadable.append("\(folder): \(error)")
    }
  }

  private mutating func read(file: String) {
    do {
      let records = try JSONDecoder().decode([VectorRecord].self, from: Data(contentsOf: URL(filePath: file)))
      for record in records {
        counts[record.kind, default: 0] += 1
        if record.differences.isEmpty { continue }
        failures[record.kind, default: []].append(
          "\(record.id) (\(record.note)): \(record.differences.joined(separator: "; "))")
      }
    } catch {
      unreadable.append("\(file): \(error)")
    }
  }
}
