import ArgumentParser
import KubernetesCore
import KubernetesProtobuf

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// How a list of pods is read.
enum DecodeVariant: String, CaseIterable, ExpressibleByArgument {
  /// JSON by FoundationEssentials.
  case jsonFoundation = "json-foundation"
  /// JSON by `JSONReader` and `JSONValue`, as for everything that isn't a pod.
  case json
  /// Kubernetes' protobuf encoding by swift-protobuf.
  case protobuf

  /// Decodes `body`.
  func decode(_ body: [UInt8]) throws -> [Pod] {
    var interner = PodInterner()
    switch self {
    case .jsonFoundation:
      return try JSONDecoder().decode(ObjectList<Pod>.self, from: Data(body)).items.map { interner.intern($0) }
    case .json: return try PodJSON.decodeList(body, interner: &interner).items
    case .protobuf: return try PodProtobuf.decodeList(body, interner: &interner).items
    }
  }
}

/// Decodes a list of pods as JSON and as protobuf, each in a process of its own.
struct DecodeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode", abstract: "Decode a list of pods as JSON and as protobuf.",
    discussion: """
      Without files the list is made up. Benchmarks/run decode --kubeconfig FILE fetches it from an API server in both \
      encodings.
      """)

  @Option(help: "How many pods a made-up list has.")
  var pods = 10_000
  @Option(help: "How often each variant decodes the list.")
  var rounds = 5
  @Option(help: "A PodList as JSON, as the API server gave it.")
  var json: String?
  @Option(help: "The same list in Kubernetes' protobuf encoding.")
  var protobuf: String?
  @Option(help: ArgumentHelp("Measure one variant in this process.", visibility: .hidden))
  var variant: DecodeVariant?
  @Option(help: ArgumentHelp("The list for --variant.", visibility: .hidden))
  var file: String?

  func validate() throws {
    guard pods > 0, rounds > 0 else { throw ValidationError("--pods and --rounds must be greater than 0.") }
    guard (json == nil) == (protobuf == nil) else { throw ValidationError("--json and --protobuf go together.") }
    guard (variant == nil) == (file == nil) else { throw ValidationError("--variant and --file go together.") }
  }

  func run() throws {
    if let variant, let file { return try measure(variant, file) }
    let files = try files()
    defer { if json == nil { for path in [files.json, files.protobuf] { unlink(path) } } }
    try checkEqual(files.json, files.protobuf)
    var results: [DecodeVariant: Result] = [:]
    for variant in DecodeVariant.allCases {
      let path = variant == .protobuf ? files.protobuf : files.json
      let line = try runSelf([
        "decode", "--variant", variant.rawValue, "--file", path, "--rounds", "\(rounds)",
      ])
      results[variant] = try Result(line)
    }
    print(json == nil ? "Made-up pods, \(rounds) rounds:" : "Pods of a real API server, \(rounds) rounds:")
    show(results)
  }

  /// What one process measured, as one line of numbers.
  private struct Result {
    var pods: Int
    var bytes: Int
    var peak: Int
    var kept: Int
    var seconds: Samples

    init(pods: Int, bytes: Int, peak: Int, kept: Int, seconds: Samples) {
      self.pods = pods
      self.bytes = bytes
      self.peak = peak
      self.kept = kept
      self.seconds = seconds
    }

    init(_ line: String) throws {
      let numbers = line.split(whereSeparator: \.isWhitespace).compactMap { Double($0) }
      guard numbers.count > 4 else { throw BenchmarkError("a child printed \"\(line)\" instead of numbers.") }
      self.init(
        pods: Int(numbers[0]), bytes: Int(numbers[1]), peak: Int(numbers[2]), kept: Int(numbers[3]),
        seconds: Samples(Array(numbers[4...])))
    }

    var line: String {
      (["\(pods)", "\(bytes)", "\(peak)", "\(kept)"] + seconds.values.map { "\($0)" }).joined(separator: " ")
    }
  }

  private func measure(_ variant: DecodeVariant, _ file: String) throws {
    let body = try readFile(file)
    try ProcessMemory.resetPeak()
    let before = try ProcessMemory.resident()
    var result = Result(pods: 0, bytes: body.count, peak: 0, kept: 0, seconds: Samples())
    for round in 0..<rounds {
      var pods: [Pod] = []
      result.seconds.add(try seconds { pods = try variant.decode(body) })
      result.pods = pods.count
      guard round == 0 else { continue }
      // Memory is measured in the first round: in later ones the allocator uses again what it has.
      result.peak = try ProcessMemory.peak() - before
      ProcessMemory.giveBack()
      result.kept = try ProcessMemory.resident() - before
      withExtendedLifetime(pods) {}
    }
    print(result.line)
  }

  private func files() throws -> (json: String, protobuf: String) {
    if let json, let protobuf { return (json, protobuf) }
    let base = "/tmp/swarmscale-benchmark-\(getpid())"
    let made = SyntheticPods(count: pods)
    try writeFile("\(base).json", made.json())
    try writeFile("\(base).pb", made.protobuf())
    return ("\(base).json", "\(base).pb")
  }

  /// Both files must say the same, or the comparison would mean nothing.
  private func checkEqual(_ json: String, _ protobuf: String) throws {
    let fromJSON = try DecodeVariant.json.decode(readFile(json)).sorted { $0.key < $1.key }
    let fromProtobuf = try DecodeVariant.protobuf.decode(readFile(protobuf)).sorted { $0.key < $1.key }
    guard fromJSON == fromProtobuf else {
      let different = zip(fromJSON, fromProtobuf).first { $0 != $1 }
      throw BenchmarkError(
        "the two encodings don't hold the same pods: \(fromJSON.count) and \(fromProtobuf.count); first difference at "
          + "\(different.map { "\($0.0.key)" } ?? "the end").")
    }
  }

  private func show(_ results: [DecodeVariant: Result]) {
    var table = Table(
      "variant", "pods", "MB", "KB/pod", "ms median", "min", "max", "pods/s", "MB/s", "peak MB", "kept MB", "time ratio"
    )
    guard let best = results[.protobuf]?.seconds.median else { return }
    for variant in DecodeVariant.allCases {
      guard let result = results[variant] else { continue }
      let (median, megabytes) = (result.seconds.median, Double(result.bytes) / 1e6)
      table.add(
        variant.rawValue, grouped(Int64(result.pods)), decimal(megabytes),
        decimal(Double(result.bytes) / 1e3 / Double(max(1, result.pods))), decimal(median * 1e3),
        decimal(result.seconds.minimum * 1e3), decimal(result.seconds.maximum * 1e3),
        decimal(Double(result.pods) / median, 0), decimal(megabytes / median), decimal(Double(result.peak) / 1e6),
        decimal(Double(result.kept) / 1e6), decimal(median / best, 2))
    }
    print(table.text)
  }
}
