import KubernetesCore
import Testing

@testable import ScalingDecision

/// A shrink needs samples from after our own last write.
@Suite("Fresh samples before a shrink")
struct SettlingTests {
  /// A state in which the count was last written `ago` before the start.
  private static func written(_ replicas: Int, ago: Duration) -> DecisionState {
    var state = DecisionState()
    state.expectedReplicas = replicas
    state.lastWriteAt = (start - ago).milliseconds
    return state
  }

  private func decide(
    _ metrics: [MetricSpec], _ readings: [MetricReading], wroteAgo ago: Duration, replicas: Int = 12
  ) -> Plan {
    let workers = Fleet.ready(replicas)
    return ScalingDecision.decide(
      .plain(metrics), Self.written(replicas, ago: ago),
      DecisionInput(
        now: start, specReplicas: replicas, statusReplicas: replicas, workers: workers, readings: readings))
  }

  private func cpu(_ percent: Int64, window: Int = 15, age: Int = 0, replicas: Int = 12) -> MetricReading {
    .perWorker(
      Fleet.ready(replicas).map {
        WorkerSample(worker: $0.name, milli: percent * 10, at: start - .seconds(age), window: .seconds(window))
      })
  }

  @Test(
    "A shrink waits until every sample began after the write, a minute at most",
    arguments: [
      (ago: 0, window: 15, age: 0, waits: true), (ago: 5, window: 15, age: 0, waits: true),
      (ago: 14, window: 15, age: 0, waits: true),
      (ago: 15, window: 15, age: 0, waits: false), (ago: 20, window: 15, age: 10, waits: true),
      (ago: 59, window: 30, age: 40, waits: true), (ago: 60, window: 30, age: 40, waits: false),
      (ago: 3, window: 0, age: 0, waits: false), (ago: 3, window: 0, age: 4, waits: true),
      (ago: 59, window: 86_400, age: 0, waits: true), (ago: 60, window: 86_400, age: 0, waits: false),
      // A clock that stepped back: the write is in the future and says nothing.
      (ago: -30, window: 15, age: 0, waits: false),
    ])
  func waits(_ row: (ago: Int, window: Int, age: Int, waits: Bool)) {
    let plan = decide([.cpuBand], [cpu(30, window: row.window, age: row.age)], wroteAgo: .seconds(row.ago))
    #expect(plan.write == (row.waits ? nil : 5))
    #expect((plan.bindingStep == .settling) == row.waits)
    #expect(plan.conditions[0].reason == (row.waits ? "AwaitingFreshSamples" : "SucceededRescale"))
    #expect(plan.logLine(name: "web").contains("samples from before the last change") == row.waits)
  }

  @Test("Growth doesn't wait: what older samples show is a lower bound of the load")
  func growth() {
    #expect(decide([.cpuBand], [cpu(95)], wroteAgo: .seconds(1)).write == 15)
  }

  @Test("A single number isn't a share of anything, and shrinks at once")
  func singleValue() {
    #expect(decide([.external()], [.asking(7)], wroteAgo: .seconds(1)).write == 7)
  }

  @Test("Bounds and ceilings don't wait")
  func boundsAndCeilings() {
    var spec = DecisionSpec.plain([.cpuBand], max: 8)
    let input = DecisionInput(
      now: start, specReplicas: 12, statusReplicas: 12, workers: Fleet.ready(12), readings: [cpu(30)])
    #expect(ScalingDecision.decide(spec, Self.written(12, ago: .seconds(1)), input).write == 8)
    spec.maxReplicas = 100
    // 12 workers at 114 % of a budget: 95 % carry ten.
    let plan = decide([.cpuBand, .apiRate], [cpu(30), .budget(114)], wroteAgo: .seconds(1))
    #expect(plan.write == 10)
  }

  @Test("Waiting is no proposal: a shrink by policy goes on at its pace behind a window")
  func pace() throws {
    var spec = DecisionSpec.plain([.cpuBand])
    spec.behavior.scaleDown = ScalingRules(
      stabilizationWindow: .seconds(120), selectPolicy: .max, policies: [.init(.pods, 5, per: .seconds(60))])
    var scene = Scene(spec, replicas: 40)
    var times: [Duration] = []
    while scene.now < start + .seconds(400) {
      let now = scene.now
      let workers = Fleet.ready(scene.replicas)
      if try scene.step([Fleet.cpu(workers, percent: 10, at: now)], workers: workers).write != nil {
        times.append(now - start)
      }
    }
    #expect(scene.writes == [35, 30, 25, 20, 15])
    #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 == .seconds(60) })
  }
}
