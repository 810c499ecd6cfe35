import Testing

/// What the real controller of Kubernetes 1.36.2 computed, held against the reference.
///
/// `HPA_VECTORS=FOLDER swift test --filter HPAVectorTests` runs another folder of the same kinds.
@Suite struct HPAVectorTests {
  /// How many vectors of each kind the built-in folder has, after its README.
  static let builtInCounts = [
    "calc_resource_utilization": 492, "calc_resource_raw": 184, "calc_pods": 245, "calc_object": 194,
    "calc_object_per_pod": 110, "calc_external": 197, "calc_external_per_pod": 142, "behavior_stabilize": 174,
    "behavior_rate": 261, "behavior_normalize": 210, "legacy_normalize": 111, "store_scale_event": 84,
    "hpa_defaults": 70, "hpa_validate": 140, "metrics_resource": 82, "reconcile": 330, "reconcile_sequence": 112,
  ]

  @Test("every vector of a kind gives what Kubernetes gave", arguments: builtInCounts.keys.sorted())
  func vectors(kind: String) {
    let failures = VectorReport.shared.failures[kind] ?? []
    for failure in failures.prefix(20) { Issue.record("\(failure)") }
    #expect(failures.isEmpty, "\(failures.count) of \(VectorReport.shared.counts[kind] ?? 0) vectors differ")
  }

  @Test("every file is read, and every kind in it has a runner")
  func files() {
    let report = VectorReport.shared
    for problem in report.unreadable { Issue.record("\(problem)") }
    let unknown = report.counts.keys.filter { VectorRecord.kinds[$0] == nil }.sorted()
    #expect(unknown.isEmpty, "kinds without a runner")
    for (kind, count) in report.counts.sorted(by: { $0.key < $1.key }) {
      print("HPA vectors of \(VectorReport.otherFolder ?? "the built-in folder"): \(kind) \(count)")
    }
    #expect(report.counts.values.reduce(0, +) > 0)
    // Another folder has counts of its own; the built-in one must run whole.
    if VectorReport.otherFolder == nil {
      #expect(report.counts == Self.builtInCounts)
      #expect(report.counts.values.reduce(0, +) == 3138)
    }
  }
}
