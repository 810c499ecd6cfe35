import KubernetesCore
import ScalingAPI
import ScalingDecision
import Testing

@testable import ScalingController

@Suite("Schedules")
struct ScheduleTests {
  private func reading(
    _ now: String, zone: String = "Europe/Berlin", start: String = "0 8 * * 1-5", end: String = "0 18 * * 1-5"
  ) throws -> MetricReading {
    let query = ScheduleQuery(
      timeZone: zone, start: try CronSchedule(start), end: try CronSchedule(end), replicas: 20)
    return query.collected(at: try Timestamp(rfc3339: now), zones: SystemTimeZones()).reading
  }

  @Test(
    "The window follows the civil time of its zone, summer time included, and tells when it changes",
    arguments: [
      // Wednesday in winter: Berlin is one hour ahead of UTC.
      ("2026-11-25T06:59:59Z", false, "2026-11-25T07:00:00Z"),
      ("2026-11-25T07:00:00Z", true, "2026-11-25T17:00:00Z"),
      ("2026-11-25T17:00:00Z", false, "2026-11-26T07:00:00Z"),
      // In summer two hours.
      ("2026-07-01T06:00:00Z", true, "2026-07-01T16:00:00Z"),
      ("2026-07-01T05:59:59Z", false, "2026-07-01T06:00:00Z"),
      // From Friday evening to Monday morning, across the change of the clocks on Sunday 2026-10-25.
      ("2026-10-23T16:00:00Z", false, "2026-10-26T07:00:00Z"),
    ] as [(String, Bool, String)])
  func window(now: String, isOpen: Bool, until: String) throws {
    #expect(try reading(now) == .schedule(replicas: isOpen ? 20 : nil, until: try Timestamp(rfc3339: until)))
  }

  @Test("The zone counts: the same moment is inside in one and outside in another")
  func zones() throws {
    let moment = "2026-11-25T07:30:00Z"
    #expect(try reading(moment) == .schedule(replicas: 20, until: try Timestamp(rfc3339: "2026-11-25T17:00:00Z")))
    #expect(
      try reading(moment, zone: "UTC")
        == .schedule(replicas: nil, until: try Timestamp(rfc3339: "2026-11-25T08:00:00Z")))
    #expect(
      try reading(moment, zone: "Asia/Kolkata")
        == .schedule(replicas: 20, until: try Timestamp(rfc3339: "2026-11-25T12:30:00Z")))
  }

  @Test("A zone that nobody knows is a fault of the configuration")
  func unknownZone() throws {
    #expect(try reading("2026-11-25T07:30:00Z", zone: "Europe/Atlantis") == .unavailable(.misconfigured))
  }

  @Test("Of overlapping schedules the largest wins, and the next pass is due at the first transition")
  func overlapping() throws {
    let now = try Timestamp(rfc3339: "2026-11-25T10:00:00Z")
    let day = try reading("2026-11-25T10:00:00Z")
    let noon = ScheduleQuery(
      timeZone: "Europe/Berlin", start: try CronSchedule("0 10 * * *"), end: try CronSchedule("0 13 * * *"),
      replicas: 35
    ).collected(at: now, zones: SystemTimeZones()).reading
    let metrics = ["day", "noon"].map { MetricSpec(name: $0, source: .schedule, target: .replicas) }
    let spec = DecisionSpec(minReplicas: 5, maxReplicas: 100, metrics: metrics, behavior: .immediate)
    let plan = ScalingDecision.decide(
      spec, DecisionState(),
      DecisionInput(now: now, specReplicas: 10, statusReplicas: 10, readings: [day, noon]))
    #expect(plan.write == 35)
    #expect(plan.nextDeadline == (try Timestamp(rfc3339: "2026-11-25T12:00:00Z")))
  }

  @Test("A spec's Prometheus and Schedule metrics compile to queries, a backlog by query too")
  func compiled() throws {
    let json = try KubernetesJSON.decode(
      JSONValue.self,
      from: Array(
        #"""
        {"metadata":{"name":"a"},"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"a"},
        "metrics":[{"type":"Schedule","schedule":{"start":"0 8 * * *","end":"0 9 * * *","replicas":7}},
        {"type":"Backlog","backlog":{"target":{"averageValue":"4"},
         "source":{"prometheus":{"serverAddress":"http://p","query":"q"}}}}]}}
        """#.utf8))
    let compiled = try CompiledAutoscaler(SwarmAutoscaler(json), defaults: .init(), limits: .init())
    guard case .schedule(let schedule) = compiled.queries[0], case .prometheus(let query) = compiled.queries[1] else {
      Issue.record("\(compiled.queries)")
      return
    }
    #expect(schedule.timeZone == "UTC" && schedule.replicas == 7)
    #expect(query.query == "q" && query.absent == .hold)
  }
}
