/// What one part of a round has measured.
struct PartResult: Sendable {
  /// Latencies in nanoseconds, of what began after the discarded time.
  var latencies: [Int64] = []
  /// How late the generator's own timer was, in nanoseconds.
  var lateness: [Int64] = []
  /// Answers that were no 200, and connections that broke.
  var errors = 0
}

/// Collects rounds and sums them up.
struct LoadReport {
  /// Quantiles of one kind of path, in nanoseconds.
  struct Path: Encodable {
    var count: Int
    var errors: Int
    var p50: Int64
    var p90: Int64
    var p99: Int64
    var max: Int64
    /// The 99th percentile of the generator's own lateness.
    var latenessP99: Int64
  }

  /// One quantile through the sidecar less the same one directly, each round by itself.
  struct Difference: Encodable {
    var median: Int64
    var min: Int64
    var max: Int64
  }

  /// The whole result.
  struct Summary: Encodable {
    var direct: Path
    var via: Path
    /// By quantile: p50, p90 and p99.
    var added: [String: Difference]
  }

  private var direct = PartResult()
  private var via = PartResult()
  private var differences: [(p50: Int64, p90: Int64, p99: Int64)] = []

  /// Takes in a round.
  mutating func add(direct: PartResult, via: PartResult) {
    let (before, after) = (direct.latencies.sorted(), via.latencies.sorted())
    func difference(_ part: Int) -> Int64 { Self.quantile(after, part) - Self.quantile(before, part) }
    differences.append((difference(50), difference(90), difference(99)))
    Self.append(direct, to: &self.direct)
    Self.append(via, to: &self.via)
  }

  /// What all rounds together say.
  var summary: Summary {
    Summary(
      direct: Self.path(direct), via: Self.path(via),
      added: [
        "p50": Self.difference(differences.map(\.p50)), "p90": Self.difference(differences.map(\.p90)),
        "p99": Self.difference(differences.map(\.p99)),
      ])
  }

  private static func append(_ part: PartResult, to all: inout PartResult) {
    all.latencies += part.latencies
    all.lateness += part.lateness
    all.errors += part.errors
  }

  private static func path(_ result: PartResult) -> Path {
    let sorted = result.latencies.sorted()
    return Path(
      count: sorted.count, errors: result.errors, p50: quantile(sorted, 50), p90: quantile(sorted, 90),
      p99: quantile(sorted, 99), max: sorted.last ?? 0, latenessP99: quantile(result.lateness.sorted(), 99))
  }

  private static func difference(_ values: [Int64]) -> Difference {
    let sorted = values.sorted()
    return Difference(median: quantile(sorted, 50), min: sorted.first ?? 0, max: sorted.last ?? 0)
  }

  /// The value below which `percent` of sorted values are; 0 for none.
  private static func quantile(_ sorted: [Int64], _ percent: Int) -> Int64 {
    sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, sorted.count * percent / 100)]
  }
}
