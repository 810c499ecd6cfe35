import KubernetesCore
import ScalingController
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
    return ((try? PodMetricsSource.decode(Array(list.utf8), now: now)) ?? [])[0]
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

  @Test(
    "The items of a list are found whatever stands around and inside them",
    arguments: [
      (#"{"items":[]}"#, []),
      (
        #"{"kind":"L","metadata":{"x":[1,{"items":[9]}]},"items":[{"a":"]}"},{"b":[1,2]}]}"#,
        [#"{"a":"]}"}"#, #"{"b":[1,2]}"#]
      ),
      (#" { "items" : null } "#, []),
      (#"{"items":[ 1 , "two\"," , [3] ],"more":1}"#, ["1 ", #""two\",""#, "[3]"]),
    ])
  func items(json: String, expected: [String]) throws {
    let bytes = Array(json.utf8)
    let ranges = try #require(ListItemScanner.items(in: bytes))
    #expect(ranges.map { String(decoding: bytes[$0], as: UTF8.self) } == expected)
  }

  @Test(
    "What is no list, or is cut off, gives nothing rather than a part",
    arguments: [
      "", "[]", "null", "{", #"{"items":"#, #"{"items":["#, #"{"items":[{"a":1}"#, #"{"items":[{"a":1},"#,
      #"{"items":["x"#, #"{"other":[1]}"#, #"{"items":{}}"#, #"{"items":[1 2"#,
    ])
  func noItems(json: String) {
    #expect(ListItemScanner.items(in: Array(json.utf8)) == nil)
  }

  @Test("Every prefix of a list gives nothing: a cut answer is never taken for a whole one")
  func prefixes() {
    let whole = Array(#"{"metadata":{"a":"}"},"items":[{"n":"x\\"},{"m":{"k":[1]}}]}"#.utf8)
    for length in 0..<(whole.count - 1) {
      #expect(ListItemScanner.items(in: Array(whole[..<length])) == nil, "\(length)")
    }
    #expect(ListItemScanner.items(in: whole)?.count == 2)
  }
}
