import KubernetesCore
import ScalingObservation
import TestSupport
import Testing

@Suite("Pod metrics")
struct PodMetricsTests {
  private func usage(_ pod: String, cpu: Int64?...) -> PodUsage {
    let list = """
      {"items":[{"metadata":{"name":"\(pod)"},"timestamp":"2026-01-01T00:00:00Z","window":"15s","containers":[\(
        cpu.enumerated().map { index, milli in
          "{\"name\":\"c\(index)\",\"usage\":{\(milli.map { "\"cpu\":\"\($0)m\"" } ?? "")}}"
        }.joined(separator: ","))]}]}
      """
    let now = Timestamp(secondsSinceEpoch: 0)
    return ((try? PodUsage.list(parsing: Array(list.utf8), now: now)) ?? [])[0]
  }

  @Test("The use of a pod is the sum of its containers, and unknown when one of them is silent")
  func sums() {
    #expect(usage("a", cpu: 100, 250).milli(of: "cpu", container: nil) == 350)
    #expect(usage("a", cpu: 100, nil).milli(of: "cpu", container: nil) == nil)
    #expect(usage("a", cpu: 100, nil).milli(of: "cpu", container: "c0") == 100)
    #expect(usage("a", cpu: 100).milli(of: "cpu", container: "other") == nil)
    #expect(usage("a").milli(of: "cpu", container: nil) == nil)
    #expect(usage("a", cpu: .max / 1000, .max).milli(of: "cpu", container: nil) != nil)
  }

  @Test(
    "Named pods are found in a sorted list, wherever they stand, and missing ones are left out",
    arguments: [
      (["a", "c"], ["a", "c"]), (["b"], ["b"]), (["d"], ["d"]), ([], []), (["0", "aa", "z"], []),
      (["a", "b", "c", "d"], ["a", "b", "c", "d"]), (["bb", "c"], ["c"]),
    ])
  func selection(names: [String], expected: [String]) {
    let list = ["a", "b", "c", "d"].map { usage($0, cpu: 1) }
    #expect(PodUsage.select(names, from: list).map(\.pod) == expected)
  }

  @Test("Any names are found in any list, in runs or far apart, each as often as it stands there")
  func selectsLikeAFilter() {
    var random = SeededGenerator(seed: 3)
    for _ in 0..<500 {
      let all = (0..<Int.random(in: 0...200, using: &random)).map { _ in Int.random(in: 2_000...2_150, using: &random) }
      let list = all.sorted().map { PodUsage(pod: "p\($0)", at: Self.now, window: .zero, containers: []) }
      let first = Int.random(in: 1_990...2_160, using: &random)
      let names = Set(
        (0..<Int.random(in: 0...20, using: &random)).map { run in
          Bool.random(using: &random) ? first + run : Int.random(in: 1_990...2_160, using: &random)
        }
      ).sorted().map { "p\($0)" }
      #expect(PodUsage.select(names, from: list).map(\.pod) == list.map(\.pod).filter(Set(names).contains))
    }
  }

  @Test("A pod's containers come back as they were given, however many they are")
  func containers() {
    let all = [
      PodUsage.Container(name: "first", memory: 5), PodUsage.Container(name: "second", cpu: 7),
      PodUsage.Container(name: "third-with-a-long-name", cpu: .max, memory: 0),
    ]
    for count in 0...all.count {
      let given = Array(all.prefix(count))
      var usage = PodUsage(pod: "p", at: Self.now, window: .zero, containers: given)
      #expect(usage.containers == given)
      usage.containers = given.reversed()
      #expect(usage.containers == given.reversed())
    }
    #expect(all[0].cpu == nil && all[0].memory == 5 && all[1].cpu == 7 && all[1].memory == nil)
  }

  @Test("The name of a pod is taken from where it is kept anyway")
  func sharesNames() throws {
    let json = #"{"items":[{"metadata":{"name":"b"}},{"metadata":{"name":"a"}}]}"#
    let list = try PodUsage.list(parsing: Array(json.utf8), now: Self.now) { $0 == "b" ? "kept" : nil }
    #expect(list.map(\.pod) == ["a", "kept"])
  }

  private static let now = Timestamp(secondsSinceEpoch: 7)

  private static func list(_ json: String) throws -> [PodUsage] {
    try PodUsage.list(parsing: Array(json.utf8), now: now)
  }

  @Test("A list as the metrics-server writes it is read, sorted by name, whatever else it holds")
  func readsLists() throws {
    let usage = try Self.list(
      #"""
      {"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{"x":[1,{"items":[9]}]},"items":[
      {"metadata":{"name":"q","namespace":"n","labels":{"a":"]}"}},"timestamp":"2026-11-25T01:30:00Z","window":"15.5s",
       "containers":[{"name":"c","usage":{"cpu":"1234567n","memory":"12Mi","example.com/gpu":"1"}},{"name":"d","usage":null}]},
      {"metadata":{"name":"p"},"timestamp":null,"window":"","containers":null,"more":[[{}]]},
      {"metadata":{"name":"r"},"timestamp":"2026-11-25T01:30:00Z","window":"15.5s",
       "containers":[{"name":"c","usage":{"cpu":2,"memory":1.5}}]}]}
      """#)
    let at = try Timestamp(rfc3339: "2026-11-25T01:30:00Z")
    #expect(
      usage == [
        PodUsage(pod: "p", at: Self.now, window: .zero, containers: []),
        PodUsage(
          pod: "q", at: at, window: .milliseconds(15_500),
          containers: [.init(name: "c", cpu: 2, memory: 12_582_912_000), .init(name: "d")]),
        PodUsage(
          pod: "r", at: at, window: .milliseconds(15_500), containers: [.init(name: "c", cpu: 2000, memory: 1500)]),
      ])
    #expect(try Self.list(#"{"items":[]}"#).isEmpty)
    #expect(try Self.list(#" { "items" : null } "#).isEmpty)
  }

  @Test(
    "What is no list, or has one broken item, is refused as a whole",
    arguments: [
      "", "[]", "null", "{}", #"{"other":[1]}"#, #"{"items":{}}"#, #"{"items":[1]}"#, #"{"items":[]}x"#,
      #"{"items":[{"containers":[{"usage":{"cpu":"1x"}}]}]}"#, #"{"items":[{"timestamp":"yesterday"}]}"#,
      #"{"items":[{"metadata":{"name":5}}]}"#, #"{"items":[{"containers":{}}]}"#,
    ])
  func refuses(json: String) {
    let error = #expect(throws: KubernetesError.self) { try Self.list(json) }
    #expect(error?.code == .malformedResponse)
  }

  @Test("Every prefix of a list is refused: a cut answer is never taken for a whole one")
  func prefixes() throws {
    let whole = Array(
      #"{"metadata":{"a":"}"},"items":[{"metadata":{"name":"x\\"}},{"containers":[{"usage":{"cpu":"1m"}}]}]}"#.utf8)
    for length in 0..<whole.count {
      #expect(throws: KubernetesError.self, "\(length)") {
        try PodUsage.list(parsing: Array(whole[..<length]), now: Self.now)
      }
    }
    #expect(try PodUsage.list(parsing: whole, now: Self.now).count == 2)
  }
}
