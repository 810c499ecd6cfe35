import AgentRuntime
import CoordinationCore
import EngineConformance
import SlowTests
import Testing

private let mebibyte = 1 << 20

@Suite struct MemoryEstimatorTests {
  @Test("With one kind at work its expectation becomes the average, quickly upwards and slowly downwards")
  func average() {
    var estimator = MemoryEstimator()
    for _ in 0..<20 { estimator.observe(400 * mebibyte, running: ["review": 10]) }
    #expect(abs(estimator.bytes("review") - 40 * mebibyte) < mebibyte)
    estimator.observe(40 * mebibyte, running: ["review": 10])
    #expect(estimator.bytes("review") > 37 * mebibyte, "one low reading says little")
    for _ in 0..<200 { estimator.observe(40 * mebibyte, running: ["review": 10]) }
    #expect(abs(estimator.bytes("review") - 4 * mebibyte) < mebibyte / 4)
  }

  @Test("With several kinds at work the sum of their expectations is what all have taken")
  func sum() {
    var estimator = MemoryEstimator()
    for _ in 0..<30 { estimator.observe(64 * mebibyte, running: ["large": 1]) }
    for _ in 0..<300 { estimator.observe(80 * mebibyte, running: ["large": 1, "small": 16]) }
    let total = estimator.bytes("large") + 16 * estimator.bytes("small")
    #expect(abs(total - 80 * mebibyte) < 2 * mebibyte)
    #expect(estimator.bytes("large") > 40 * estimator.bytes("small"))
  }

  @Test("However many kinds are named, it remembers a bounded number, and learns of the others together")
  func bounded() {
    var estimator = MemoryEstimator()
    for number in 0..<1_000 { estimator.observe(8 * mebibyte, running: ["kind\(number)": 1]) }
    #expect(estimator.count == MemoryEstimator.kinds)
    #expect(estimator.bytes("never seen") > 4 * mebibyte)
  }
}

@Suite struct AdmissionControlTests {
  @Test("An agent is admitted while what is expected of it stays below the upper mark")
  func band() {
    var control = AdmissionControl()
    control.note(.init(limit: 1_000 * mebibyte, used: 500 * mebibyte))
    for _ in 0..<3 {
      #expect(control.refusal("a", declared: 100 * mebibyte) == nil)
      _ = control.begin("a", declared: 100 * mebibyte)
    }
    // 800 of 850 are promised, whatever is measured yet.
    #expect(control.refusal("a", declared: 100 * mebibyte) == .memory)
    #expect(control.refusal("a", declared: 40 * mebibyte) == nil)
  }

  @Test("Memory that has passed the upper mark lets nobody in until it is below the lower one")
  func hysteresis() {
    var control = AdmissionControl()
    _ = control.begin("a", declared: 1)
    for (percent, isOpen) in [(84, true), (85, false), (80, false), (70, false), (69, true), (84, true)] {
      control.note(.init(limit: 1_000 * mebibyte, used: percent * 10 * mebibyte))
      #expect((control.refusal("b", declared: 1) == nil) == isOpen, "at \(percent) %")
    }
  }

  @Test("However full the memory and busy the CPU, one agent may run, unless somebody says otherwise than memory")
  func oneAlways() {
    var control = AdmissionControl()
    control.note(.init(limit: 100, used: 99, cpu: 100))
    (control.rung, control.cause) = (.park, .memory)
    #expect(control.refusal("a", declared: 1 << 40) == nil)
    #expect(control.allowance("a", slots: 8) == 1)
    let bytes = control.begin("a")
    #expect(control.refusal("a") == .degraded && control.allowance("a", slots: 8) == 0)
    control.end("a", bytes: bytes)
    (control.rung, control.cause) = (.noNewTasks, .engine)
    #expect(control.refusal("a") == .degraded && control.allowance("a", slots: 8) == 0)
  }

  @Test("An agent that waits with its memory is none of those that run, so that the one it waits for may")
  func paused() {
    var control = AdmissionControl()
    control.note(.init(limit: 100, used: 99))
    _ = control.begin("a")
    #expect(control.refusal("a") == .memory)
    control.pause("a")
    #expect(control.refusal("a") == nil)
    _ = control.begin("b")
    control.resume("a")
    #expect(control.refusal("a") == .memory && control.agents == 2)
  }

  @Test("CPU above its band takes agents back to its middle, inside it holds them, below it lets them grow")
  func cpu() {
    var control = AdmissionControl()
    for _ in 0..<20 { _ = control.begin("a", declared: 1) }
    control.note(.init(cpu: 100))
    #expect(control.cpuAllowance == 15 && control.refusal("a") == .cpu)
    for _ in 0..<5 { control.end("a", bytes: 1) }
    control.note(.init(cpu: 78))
    #expect(control.cpuAllowance == 15 && control.refusal("a") == .cpu)
    control.note(.init(cpu: 60))
    #expect(control.cpuAllowance == 18 && control.refusal("a") == nil)
    control.note(.init(cpu: 10))
    #expect(control.cpuAllowance == nil)
  }

  @Test("The rungs act: bulk waits first, then batches are halved, then nothing new begins")
  func rungs() {
    var control = AdmissionControl()
    _ = control.begin("a")
    control.rung = .shedBulk
    #expect(control.refusal("a", isBulk: true) == .bulk && control.refusal("a") == nil)
    #expect(control.allowance(slots: 9) == nil)
    control.rung = .smallerModel
    #expect(control.refusal("a") == nil && control.allowance(slots: 9) == 5)
    for rung in [DegradationRung.noNewTasks, .finishSteps, .park] {
      control.rung = rung
      #expect(control.refusal("a") == .degraded && control.allowance(slots: 9) == 0)
    }
  }
}

@Suite struct ControlGroupTests {
  private static func group(_ files: [String: String]) -> ControlGroup {
    ControlGroup(root: "/g") { path in files[String(path.dropFirst(3))] }
  }

  @Test("Version 2: the lower of max and high, the kubelet's working set, CPU time and quota")
  func unified() {
    let group = Self.group([
      "cgroup.controllers": "cpu memory\n", "memory.max": "2000000\n", "memory.high": "1500000\n",
      "memory.current": "900000\n", "memory.stat": "anon 500000\nfile 400000\ninactive_file 300000\n",
      "cpu.stat": "usage_usec 123456\nuser_usec 100000\n", "cpu.max": "150000 100000\n",
    ])
    #expect(group.memoryLimit == 1_500_000 && group.memoryUsed == 600_000)
    #expect(group.cpuUsed == 123_456 && group.cpuLimit == 1_500)
  }

  @Test("Version 2 without limits: max, and files that aren't there, are no limit")
  func unlimited() {
    let group = Self.group(["cgroup.controllers": "", "memory.max": "max\n", "cpu.max": "max 100000\n"])
    #expect(group.memoryLimit == nil && group.memoryUsed == nil && group.cpuUsed == nil && group.cpuLimit == nil)
  }

  @Test("Version 1: its own names, nanoseconds, and a number near 2^63 for no limit")
  func legacy() {
    var files = [
      "memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/memory.usage_in_bytes": "700\n",
      "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200\n", "cpuacct/cpuacct.usage": "5000000\n",
      "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n",
    ]
    #expect(Self.group(files).memoryLimit == nil && Self.group(files).memoryUsed == 500)
    #expect(Self.group(files).cpuUsed == 5_000 && Self.group(files).cpuLimit == nil)
    files["memory/memory.limit_in_bytes"] = "1000000"
    files["cpu/cpu.cfs_quota_us"] = "50000"
    #expect(Self.group(files).memoryLimit == 1_000_000 && Self.group(files).cpuLimit == 500)
  }
}

@Suite(.alone, .timeLimit(.minutes(10))) struct ResourceManagerTests {
  @Test("Who waits for memory is served in order as it becomes free, and who gives up leaves the line")
  func line() async throws {
    let pod = Pod(slots: 8)
    pod.gauges.set(limit: 1_000, used: 500)
    pod.resources.look()
    let first = try await pod.resources.admit("a", declared: 300)
    let second = Task { try await pod.resources.admit("a", declared: 200) }
    await until { pod.resources.statistics.waiting == 1 }
    let third = Task { try await pod.resources.admit("a", declared: 10) }
    await until { pod.resources.statistics.waiting == 2 }
    second.cancel()
    await #expect(throws: CancellationError.self) { try await second.value }
    // The one behind it fits.
    let small = try await third.value
    #expect(pod.resources.statistics.reserved == 310)
    #expect(pod.resources.statistics.waits[.memory] == 1)
    pod.resources.end(first)
    pod.resources.end(small)
    #expect(pod.resources.statistics.agents == 0 && pod.resources.statistics.reserved == 0)
  }

  @Test("The ladder moves by what is measured, is counted, and who may begin follows it at once")
  func ladder() async throws {
    let pod = Pod(slots: 8)
    pod.gauges.set(limit: 1_000, used: 100)
    let busy = try await pod.resources.admit("a", declared: 1)
    pod.gauges.set(.engine, 3)
    pod.resources.look()
    #expect(pod.resources.rung == .noNewTasks && pod.resources.statistics.moves == [.noNewTasks: 1])
    let waiting = Task { try await pod.resources.admit("a", declared: 1) }
    await until { pod.resources.statistics.waiting == 1 }
    pod.gauges.set(.engine, 0)
    for _ in 0..<4 {
      pod.resources.look()
      pod.clock.advance(by: .seconds(30))
    }
    pod.resources.look()
    #expect(pod.resources.rung == .normal)
    let admitted = try await waiting.value
    for admission in [busy, admitted] { pod.resources.end(admission) }
  }
}
