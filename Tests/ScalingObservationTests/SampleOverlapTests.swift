import KubernetesCore
import ScalingDecision
import ScalingObservation
import Testing

@Suite("Samples that overlap with a takeover")
struct SampleOverlapTests {
  private static let now = Timestamp(secondsSinceEpoch: 1_790_000_000)

  private static func worker(_ name: String, readyFor seconds: Int, isReady: Bool = true) -> WorkerObservation {
    WorkerObservation(
      name: name, readiness: .init(isReady: isReady, since: now - .seconds(seconds)),
      createdAt: now - .seconds(seconds + 5))
  }

  private static func sample(_ name: String, age: Int = 0, window: Int = 15) -> WorkerSample {
    WorkerSample(worker: name, milli: 775, at: now - .seconds(age), window: .seconds(window))
  }

  private func kept(_ workers: [WorkerObservation], _ samples: [WorkerSample]) -> [String] {
    SampleOverlap.removing(from: WorkerSamples(samples), of: workers, now: Self.now).samples.map(\.worker)
  }

  @Test("A new worker's sample counts once the older workers' samples began after it became ready", arguments: 1...40)
  func takeover(readyFor seconds: Int) {
    let workers = [
      Self.worker("a", readyFor: 3600), Self.worker("b", readyFor: 3600), Self.worker("c", readyFor: seconds),
    ]
    // The longest of the older windows counts: that of b, which began 20 s ago.
    let samples = [Self.sample("a"), Self.sample("b", age: 5), Self.sample("c", window: 5)]
    #expect(kept(workers, samples) == (seconds >= 20 ? ["a", "b", "c"] : ["a", "b"]))
  }

  @Test("Workers that became ready together took over nothing from each other")
  func together() {
    let workers = ["a", "b", "c"].map { Self.worker($0, readyFor: 3) }
    #expect(kept(workers, ["a", "b", "c"].map { Self.sample($0) }) == ["a", "b", "c"])
  }

  @Test("Of a fleet that is just starting the first ones count")
  func starting() {
    let workers = [
      Self.worker("a", readyFor: 9), Self.worker("b", readyFor: 9), Self.worker("c", readyFor: 6),
      Self.worker("d", readyFor: 1),
    ]
    #expect(kept(workers, ["a", "b", "c", "d"].map { Self.sample($0, window: 5) }) == ["a", "b", "c"])
  }

  @Test("A frozen source holds nobody back for longer than two minutes")
  func bounded() {
    let workers = [Self.worker("a", readyFor: 3600), Self.worker("b", readyFor: 121)]
    #expect(kept(workers, [Self.sample("a", age: 300), Self.sample("b")]) == ["a", "b"])
    #expect(
      kept([workers[0], Self.worker("b", readyFor: 119)], [Self.sample("a", age: 300), Self.sample("b")]) == ["a"])
    let three = [workers[0], Self.worker("b", readyFor: 120), Self.worker("c", readyFor: 5)]
    #expect(kept(three, [Self.sample("a", age: 300), Self.sample("b"), Self.sample("c")]) == ["a", "b"])
  }

  @Test("A window that claims to be longer than a minute is taken for a minute")
  func longWindows() {
    let samples = [Self.sample("a", window: 86_400), Self.sample("b")]
    for (readyFor, expected) in [(59, ["a"]), (60, ["a", "b"])] {
      #expect(kept([Self.worker("a", readyFor: 3600), Self.worker("b", readyFor: readyFor)], samples) == expected)
    }
  }

  @Test("Workers that aren't ready, or are gone, take over nothing and hold nobody back")
  func others() {
    var dying = Self.worker("a", readyFor: 3600)
    dying.isDeleting = true
    let workers = [dying, Self.worker("b", readyFor: 3), Self.worker("c", readyFor: 2, isReady: false)]
    let samples = [Self.sample("a"), Self.sample("b"), Self.sample("c"), Self.sample("gone")]
    #expect(kept(workers, samples) == ["a", "b", "c", "gone"])
  }
}
