import Observability
import Testing

@Suite struct MetricsRegistryTests {
  private func registry() -> MetricsRegistry {
    MetricsRegistry([
      .init("b_total", .counter, labels: ["name"], help: "B."),
      .init("a_replicas", .gauge, labels: ["namespace", "name"], help: "A \\ with\nnewline."),
      .init("c_seconds", .histogram, buckets: [0.1, 1], help: "C."),
    ])
  }

  @Test("Families and series are rendered in a fixed order, with help, type and escaped labels")
  func rendering() {
    let registry = registry()
    registry.increment("b_total", ["z"])
    registry.increment("b_total", by: 2, ["say \"hi\"\n"])
    registry.set("a_replicas", to: 7.5, ["ns", "x"])
    #expect(
      registry.render() == """
        # HELP a_replicas A \\\\ with\\nnewline.
        # TYPE a_replicas gauge
        a_replicas{namespace="ns",name="x"} 7.5
        # HELP b_total B.
        # TYPE b_total counter
        b_total{name="say \\"hi\\"\\n"} 2
        b_total{name="z"} 1

        """)
  }

  @Test("A histogram's buckets are cumulative and end in +Inf")
  func histogram() {
    let registry = registry()
    for value in [0.05, 0.5, 5] { registry.observe("c_seconds", value) }
    #expect(
      registry.render() == """
        # HELP c_seconds C.
        # TYPE c_seconds histogram
        c_seconds_bucket{le="0.1"} 1
        c_seconds_bucket{le="1"} 2
        c_seconds_bucket{le="+Inf"} 3
        c_seconds_sum 5.55
        c_seconds_count 3

        """)
  }

  @Test("Series of a removed object disappear, those of others stay")
  func removal() {
    let kinds: [MetricsRegistry.Family] = [
      .init("a_replicas", .gauge, labels: ["namespace", "name"], help: "Of one kind."),
      .init("z_limit", .gauge, labels: ["namespace", "name", "dimension"], help: "Of another kind."),
    ]
    let registry = MetricsRegistry(kinds)
    registry.set("a_replicas", to: 1, ["ns", "gone"])
    registry.set("a_replicas", to: 2, ["ns", "kept"])
    registry.set("z_limit", to: 3, ["ns", "gone", "requests"])
    registry.removeSeries(withLabelPrefix: ["ns", "gone"], of: [kinds[0]])
    #expect(registry.value("a_replicas", ["ns", "gone"]) == nil)
    #expect(registry.value("a_replicas", ["ns", "kept"]) == 2)
    #expect(
      registry.value("z_limit", ["ns", "gone", "requests"]) == 3, "an object of another kind with the same name stays")
  }

  @Test("A sample with the wrong number of labels or of another kind is refused, not stored")
  func undeclared() {
    let registry = registry()
    registry.increment("a_replicas", ["ns", "x"])
    registry.set("a_replicas", to: 1, ["only one"])
    registry.set("unknown", to: 1)
    #expect(registry.render() == "")
  }

  @Test("Collectors run before each rendering")
  func collectors() {
    let registry = registry()
    registry.onRender { $0.set("a_replicas", to: 3, ["ns", "x"]) }
    #expect(registry.render().contains("a_replicas{namespace=\"ns\",name=\"x\"} 3\n"))
  }
}
