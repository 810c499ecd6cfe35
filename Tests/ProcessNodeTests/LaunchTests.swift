import KubernetesCore
import ProcessNode
import Testing

@Suite struct LaunchTests {
  @Test(
    "Variables are expanded as Kubernetes does",
    arguments: [
      ("$(A)", "1"), ("x$(A)y$(B)", "x1y2"), ("$$(A)", "$(A)"), ("$(C)", "$(C)"), ("$A $", "$A $"), ("$$$(A)", "$1"),
      ("$(A", "$(A"), ("", ""), ("$(", "$("), ("$()", "$()"),
    ])
  func expansion(_ text: String, _ expected: String) {
    #expect(Expansion.expand(text) { ["A": "1", "B": "2"][$0] } == expected)
  }

  @Test(
    "Mount paths are mapped where a path begins, and nowhere else",
    arguments: [
      ("/data", "/real"), ("/data/x", "/real/x"), ("--dir=/data/x", "--dir=/real/x"), ("/data2", "/data2"),
      ("/other/data", "/other/data"), ("a:/data:/data/deep/x", "a:/real:/deep/x"),
      ("cat \"/data/a b\"", "cat \"/real/a b\""),
      ("file:///data", "file:///data"), ("/database", "/database"),
    ])
  func paths(_ text: String, _ expected: String) {
    #expect(Expansion.mapPaths(text, [("/data", "/real"), ("/data/deep", "/deep")]) == expected)
  }

  @Test(
    "The loopback address means the pod where it stands alone",
    arguments: [
      ("http://127.0.0.1:8787/x", "http://127.64.0.9:8787/x"), ("localhost", "127.64.0.9"),
      ("localhost:1,127.0.0.1:2", "127.64.0.9:1,127.64.0.9:2"), ("1127.0.0.1", "1127.0.0.1"),
      ("127.0.0.10", "127.0.0.10"), ("my-localhost", "my-localhost"),
      ("localhost.example.org", "localhost.example.org"),
    ])
  func loopback(_ text: String, _ expected: String) {
    #expect(Expansion.mapLoopback(text, to: "127.64.0.9") == expected)
  }

  @Test("Only what every program needs, and what is named, comes from the node's environment")
  func inheritance() {
    let environment = ["PATH": "/bin", "SECRET": "x", "PROXY": "p", "TMPDIR": "/t"]
    let variables = inheritedVariables(environment, allowList: ["PROXY", "ABSENT"])
    let expected = [
      Variable("PATH", "/bin"), Variable("HOME", "/"), Variable("LANG", "C.UTF-8"), Variable("TMPDIR", "/t"),
      Variable("PROXY", "p"),
    ]
    #expect(variables == expected)
  }

  @Test("A pod is read from the API's JSON with the API's defaults")
  func manifest() throws {
    let text = #"""
      {"metadata":{"name":"p","namespace":"ns","uid":"u","labels":{"a":"b"}},
       "spec":{"restartPolicy":"OnFailure","terminationGracePeriodSeconds":7,
        "initContainers":[{"name":"proxy","restartPolicy":"Always"},{"name":"setup"}],
        "containers":[{"name":"main","command":["a"],"args":["b"],"ports":[{"name":"http","containerPort":80}],
         "livenessProbe":{"httpGet":{"port":"http","path":"x","scheme":"HTTPS"},"periodSeconds":3,"failureThreshold":0},
         "lifecycle":{"preStop":{"sleep":{"seconds":4}}},"resources":{"requests":{"cpu":"250m"}}}],
        "volumes":[{"name":"v","nfs":{}},{"name":"e"}]}}
      """#
    let pod = try #require(PodManifest(json: try JSONValue(parsing: Array(text.utf8))))
    #expect(pod.containers.map(\.role) == [.sidecar, .initial, .app])
    #expect(pod.restartPolicy == .onFailure && pod.gracePeriod == .seconds(7))
    let main = pod.containers[2]
    #expect(main.preStop == .exec(["sleep", "4"]) && main.requests["cpu"] == Quantity(milliValue: 250))
    let probe = try #require(main.livenessProbe)
    #expect(probe.action == .httpGet(host: nil, port: .name("http"), path: "/x", isTLS: true, headers: []))
    #expect(probe.period == .seconds(3) && probe.timeout == .seconds(1) && probe.failureThreshold == 1)
    #expect(pod.volumes.map(\.content) == [.unsupported("nfs"), .emptyDir])
    #expect(PodManifest(json: ["metadata": ["name": "p"]]) == nil)
  }

  @Test("Fields and resources are given as the kubelet gives them")
  func fields() throws {
    var pod = LifecycleRig.pod([
      ContainerManifest(
        name: "main", command: ["x"],
        environment: [
          EnvironmentEntry("LABEL", .field("metadata.labels['a']")), EnvironmentEntry("ALL", .field("metadata.labels")),
          EnvironmentEntry("CPU", .resource(container: nil, resource: "requests.cpu", divisor: Quantity(1))),
          EnvironmentEntry(
            "MILLI", .resource(container: nil, resource: "requests.cpu", divisor: Quantity(milliValue: 1))),
          EnvironmentEntry("MEMORY", .resource(container: nil, resource: "limits.memory", divisor: Quantity(1))),
        ], requests: ["cpu": Quantity(milliValue: 1_250)])
    ])
    pod.labels = ["a": "b\"c", "z": "1"]
    let facts = LaunchFacts(podIP: "127.64.0.1", hostIP: "127.0.0.1", allocatable: ["memory": Quantity(77)])
    let plan = try LaunchPlan(pod.containers[0], of: pod, facts, objects: [:])
    #expect(plan.environment.map(\.value) == ["b\"c", "a=\"b\\\"c\"\nz=\"1\"", "2", "1250", "77"])
    pod.containers[0].environment = [EnvironmentEntry("X", .field("spec.secret"))]
    #expect(throws: LaunchProblem.self) { try LaunchPlan(pod.containers[0], of: pod, facts, objects: [:]) }
  }

  @Test("A pod is admitted by what it needs at its worst moment")
  func admission() {
    func container(_ name: String, _ role: ContainerManifest.Role, _ cpu: Int64) -> ContainerManifest {
      ContainerManifest(name: name, role: role, requests: ["cpu": Quantity(cpu)])
    }
    var pod = LifecycleRig.pod([
      container("proxy", .sidecar, 1), container("setup", .initial, 5), container("late", .sidecar, 1),
      container("main", .app, 2),
    ])
    #expect(pod.requests["cpu"] == Quantity(6))
    var admission = Admission(allocatable: ["cpu": Quantity(7), "pods": Quantity(10)])
    #expect(admission.admit(pod) == nil)
    pod.uid = "other"
    #expect(admission.admit(pod)?.reason == "OutOfcpu")
    admission.release("uid")
    #expect(admission.admit(pod) == nil)
  }

  @Test("Addresses are used again as late as can be, and blocks are apart")
  func addresses() {
    var pool = AddressPool(block: 0)
    #expect(pool.take() == "127.64.0.1" && pool.take() == "127.64.0.2")
    pool.giveBack("127.64.0.1")
    #expect(pool.take() == "127.64.0.3")
    for _ in 0..<4_092 { #expect(pool.take() != nil) }
    #expect(pool.take() == nil)
    var last = AddressPool(block: 1_023)
    #expect(last.take() == "127.127.240.1")
  }

  @Test("A rate is the average over the window, and a new run begins a new one")
  func usage() {
    func sample(_ seconds: Int, _ cpu: UInt64) -> UsageWindow.Sample {
      UsageWindow.Sample(
        at: MonotonicTime(sinceOrigin: .seconds(seconds)), wall: Timestamp(secondsSinceEpoch: Int64(seconds)),
        cpuNanoseconds: cpu, memoryBytes: 5)
    }
    var window = UsageWindow()
    window.add(sample(0, 0))
    #expect(window.usage == nil)
    for second in 1...8 { window.add(sample(second * 5, UInt64(second) * 1_000_000_000)) }
    #expect(window.usage?.cpuNanocores == 200_000_000 && window.usage?.window == .seconds(15))
    window.add(sample(45, 1))
    #expect(window.usage == nil)
  }
}
