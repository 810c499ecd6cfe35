import KubernetesCore
import ScalingDecision
import Testing

@testable import ScalingController

@Suite("What becomes of drains") struct DrainWatchTests {
  private let start = Timestamp(secondsSinceEpoch: 1_790_000_000)

  private func worker(
    _ name: String, busy: Int = 0, _ drain: WorkerActivity.Drain = .none, isDeleting: Bool = false
  ) -> WorkerObservation {
    WorkerObservation(
      name: name, isDeleting: isDeleting, createdAt: start, activity: WorkerActivity(inFlight: busy, drain: drain))
  }

  private func look(
    _ watch: inout DrainWatch, _ workers: [WorkerObservation], after seconds: Int = 0, orders: [WorkerOrder] = [],
    victims: [String]? = nil
  ) -> DrainWatch.News {
    let input = DecisionInput(
      now: start + .seconds(seconds), specReplicas: workers.count, statusReplicas: workers.count, workers: workers)
    var plan = ScalingDecision.decide(
      DecisionSpec(minReplicas: 1, maxReplicas: 9, metrics: []), DecisionState(), input)
    plan.orders = orders
    plan.victims = victims ?? []
    return watch.observe(input, plan, isCarriedOut: true, hasWritten: victims != nil)
  }

  @Test("An order is followed to its end, with the time that it took")
  func drained() {
    var watch = DrainWatch()
    let found = look(&watch, [worker("a", busy: 1), worker("b", .acknowledged(since: start))])
    #expect(found == DrainWatch.News(), "what a new leader finds is no news")
    var news = look(&watch, [worker("a", busy: 1)], orders: [.drain(worker: "a")])
    #expect(news.ordered == 1 && news.lost == 0 && news.removedBusy == [], "b was idle when it went")
    news = look(&watch, [worker("a", busy: 1, .acknowledged(since: start))], after: 5)
    #expect(news.acknowledged == 1 && news.drained == 0)
    news = look(&watch, [worker("a", .acknowledged(since: start))], after: 70)
    #expect(news.acknowledged == 0 && news.drained == 1 && news.durations == [.seconds(70)])
    news = look(&watch, [worker("a", .acknowledged(since: start), isDeleting: true)], after: 71)
    #expect(news == DrainWatch.News())
    #expect(look(&watch, [], after: 72) == DrainWatch.News() && watch.totals == DrainWatch.Totals())
  }

  @Test("Who is called back is cancelled, who works on by himself has refused")
  func takenBack() {
    var watch = DrainWatch()
    let ordered = [worker("a", .ordered(since: start)), worker("b", .ordered(since: start))]
    _ = look(&watch, ordered)
    #expect(look(&watch, ordered, after: 1, orders: [.undrain(worker: "a")]).cancelled == 1)
    let news = look(&watch, [worker("a"), worker("b")], after: 2)
    #expect(news.refused == 1 && news.cancelled == 0)
  }

  @Test("Work that is hit is counted once when the removal begins, and lost when it was still in hand at the end")
  func lost() {
    var watch = DrainWatch()
    _ = look(&watch, [worker("a", busy: 2), worker("b", busy: 1), worker("c", busy: 1)])
    var news = look(
      &watch,
      [
        worker("a", busy: 2, isDeleting: true), worker("b", busy: 1, isDeleting: true), worker("c", busy: 1),
      ])
    #expect(news.removedBusy == ["a", "b"] && news.lost == 0)
    news = look(&watch, [worker("b", isDeleting: true)])
    #expect(news.lost == 3 && news.removedBusy == ["c"], "c went without being seen to go")
    #expect(look(&watch, []) == DrainWatch.News(), "b finished within its grace period")
    #expect(watch.totals == DrainWatch.Totals(removedBusy: 3, lost: 3))
  }

  @Test("A busy victim is one whose time was over")
  func timedOut() {
    var watch = DrainWatch()
    let workers = [worker("a", busy: 1, .acknowledged(since: start)), worker("b", .acknowledged(since: start))]
    #expect(look(&watch, workers, victims: ["a", "b"]).timedOut == ["a"])
  }
}
