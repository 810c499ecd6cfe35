import Foundation
import KubernetesCore
import KubernetesRuntime
import ProcessNode
import TestSupport
import Testing

@Suite struct NodeTests {
  @Test("A container finds its fields, objects, volumes and nothing of the node's own secrets")
  func environment() async throws {
    let api = FakePodAPI()
    api.put("secrets/keys", ["data": ["api": "c2VjcmV0"]])
    api.put("configmaps/settings", ["data": ["mode": "fast", "file.txt": "from the map"]])
    let environment = ["PATH": "/usr/bin:/bin", "ANTHROPIC_API_KEY": "leak", "PROXY": "allowed"]
    try await NodeRig.with(api: api, environment: environment, configure: { $0.environmentAllowList = ["PROXY"] }) {
      rig in
      try api.create(
        "p",
        #"""
        {"restartPolicy":"Never","serviceAccountName":"robot","initContainers":[{"name":"first","command":["sh","-c","echo made > /job/made"],
          "volumeMounts":[{"name":"job","mountPath":"/job"}]}],
         "containers":[{"name":"main","command":["sh","-c","echo \"$KEY|$MODE|$PRE_mode|$IP|$WHO|$LIMIT|$URL|$NONE|$ANTHROPIC_API_KEY|$PROXY|$HOSTNAME\"; cat \"$DIR/file.txt\" made /job/made; cat $(TOKENS)/token; echo; pwd"],
          "workingDir":"/job",
          "env":[{"name":"KEY","valueFrom":{"secretKeyRef":{"name":"keys","key":"api"}}},
           {"name":"MODE","valueFrom":{"configMapKeyRef":{"name":"settings","key":"mode"}}},
           {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
           {"name":"WHO","value":"$(MODE)-$$(MODE)-$(UNKNOWN)"},
           {"name":"LIMIT","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
           {"name":"URL","value":"http://127.0.0.1:8787"},{"name":"DIR","value":"/etc/settings"},{"name":"TOKENS","value":"/tokens"},
           {"name":"NONE","valueFrom":{"secretKeyRef":{"name":"absent","key":"x","optional":true}}}],
          "envFrom":[{"prefix":"PRE_","configMapRef":{"name":"settings"}}],
          "resources":{"limits":{"memory":"100Mi"}},
          "volumeMounts":[{"name":"job","mountPath":"/job"},{"name":"settings","mountPath":"/etc/settings"},{"name":"tokens","mountPath":"/tokens/"}]}],
         "volumes":[{"name":"job","emptyDir":{}},{"name":"settings","configMap":{"name":"settings"}},
          {"name":"tokens","projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}}]}
        """#)
      let pod = await rig.phase("p", "Succeeded")
      let address = pod?[path: ["status", "podIP"]]?.stringValue ?? ""
      #expect(address.hasPrefix("127."))
      let lines = try await rig.output("p").split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      #expect(
        lines.first == "secret|fast|fast|\(address)|fast-$(MODE)-$(UNKNOWN)|100|http://\(address):8787|||allowed|p")
      #expect(
        Array(lines.dropFirst().prefix(4)) == [
          "from the mapmade", "made", "token-1",
          "\(rig.folder)/pods/\(pod?[path: ["metadata", "uid"]]?.stringValue ?? "")/volumes/job",
        ])
    }
  }

  @Test("Two pods serve the same port, each at its own address, and become ready by their probes")
  func probes() async throws {
    try await NodeRig.with { rig in
      let probe =
        #","readinessProbe":{"httpGet":{"port":8080},"periodSeconds":1},"startupProbe":{"tcpSocket":{"port":8080},"periodSeconds":1,"failureThreshold":60},"livenessProbe":{"exec":{"command":["test","-n","$HOME"]}}"#
      for name in ["a", "b"] {
        try rig.run(name, "exec python3 -m http.server --bind \"$SWARMSCALE_POD_IP\" 8080", container: probe)
      }
      let a = await rig.ready("a")?[path: ["status", "podIP"]]?.stringValue
      let b = await rig.ready("b")?[path: ["status", "podIP"]]?.stringValue
      #expect(a != nil && a != b)
    }
  }

  @Test("What can't be run says so in the container's status")
  func unrunnable() async throws {
    try await NodeRig.with { rig in
      try rig.api.create("image", #"{"containers":[{"name":"main","image":"nginx"}]}"#)
      try rig.api.create("absent", #"{"containers":[{"name":"main","command":["no-such-program"]}]}"#)
      try rig.api.create(
        "secret", #"{"containers":[{"name":"main","command":["true"],"envFrom":[{"secretRef":{"name":"nowhere"}}]}]}"#)
      let image = await rig.api.container("image") {
        $0[path: ["state", "waiting", "reason"]] == "CreateContainerError"
      }
      #expect(image[path: ["state", "waiting", "message"]]?.stringValue?.contains("Local mode") == true)
      let absent = await rig.api.container("absent") { $0[path: ["state", "waiting", "reason"]] == "CrashLoopBackOff" }
      #expect(absent[path: ["lastState", "terminated", "reason"]] == "StartError")
      #expect(
        absent[path: ["lastState", "terminated", "message"]]?.stringValue?.contains("no-such-program") == true)
      let secret = await rig.api.container("secret") {
        $0[path: ["state", "waiting", "reason"]] == "CreateContainerConfigError"
      }
      #expect(secret[path: ["state", "waiting", "message"]]?.stringValue?.contains("nowhere") == true)
      // When it appears, the container starts.
      rig.api.put("secrets/nowhere", ["data": [:]])
      await rig.api.container("secret") { $0["restartCount"]?.intValue ?? 0 > 0 }
    }
  }

  @Test("A process that ignores SIGTERM is killed with all that it started, daemons included, before the pod goes")
  func stubborn() async throws {
    try await NodeRig.with { rig in
      try rig.run(
        "p",
        "trap '' TERM; (setsid sh -c 'sleep 1000 & echo daemon $!; sleep 1001') & echo pid $$$$; while :; do sleep 1; done"
      )
      let pid = try await rig.line("p", "pid ")
      let daemon = try await rig.line("p", "daemon ")
      #expect(exists(pid) && exists(daemon))
      rig.api.delete("p", grace: 1)
      await rig.api.pod("p") { $0 == nil }
      #expect(!exists(pid) && !exists(daemon))
    }
  }

  @Test("A shim that is killed takes its container's processes with it, daemons included")
  func killedShim() async throws {
    try await NodeRig.with { rig in
      try rig.run("p", "(setsid sh -c 'sleep 1000 & echo daemon $!; sleep 1001') & echo shim $PPID; wait")
      let daemon = try await rig.line("p", "daemon ")
      let shim = try await rig.line("p", "shim ")
      kill(Int32(shim) ?? 0, SIGKILL)
      let status = await rig.api.container("p") { $0[path: ["lastState", "terminated"]] != nil }
      #expect(status[path: ["lastState", "terminated", "reason"]] == "ContainerStatusUnknown")
      // Killed before it was told; its parent, whoever that is by now, may take a moment to wait for it.
      try await eventually { !exists(daemon) }
    }
  }

  @Test("A command that leaves a daemon and ends takes the daemon with it")
  func daemonizes() async throws {
    try await NodeRig.with { rig in
      try rig.run("p", "setsid setsid sleep 1000 > /dev/null 2>&1 & echo daemon $!", policy: "Never")
      await rig.phase("p", "Succeeded")
      let daemon = try await rig.output("p").split(separator: " ").last.map { $0.trimmingCharacters(in: .newlines) }
      #expect(!exists(daemon ?? "1"))
    }
  }

  @Test("Much output costs a bounded log, closed output nothing")
  func output() async throws {
    try await NodeRig.with(configure: { $0.logFileBytes = 1 << 20 }) { rig in
      try rig.run("much", "yes 0123456789012345678901234567890123456789 | head -n 2000000; echo last", policy: "Never")
      try rig.run("closed", "exec >&- 2>&-; sleep 0.1; exit 3", policy: "Never")
      await rig.phase("much", "Succeeded")
      let closed = await rig.api.container("closed") { $0[path: ["state", "terminated"]] != nil }
      #expect(closed[path: ["state", "terminated", "exitCode"]] == 3)
      let tail = try await rig.output("much", PodLogOptions(tailLines: 2))
      #expect(tail == "0123456789012345678901234567890123456789\nlast\n")
      let all = try await rig.output("much")
      #expect(all.utf8.count < 2 << 20 && all.hasSuffix("last\n"))
      let limited = try await rig.output("much", PodLogOptions(limitBytes: 5))
      #expect(limited == "01234")
    }
  }

  @Test("Logs can be followed to a run's end, and the run before is kept")
  func logs() async throws {
    try await NodeRig.with { rig in
      try rig.run(
        "p", "echo run; [ -e /f/x ] && { echo second; sleep 1000; }; touch /f/x; exit 1",
        container: #","volumeMounts":[{"name":"f","mountPath":"/f"}]"#,
        spec: #","volumes":[{"name":"f","emptyDir":{}}]"#)
      await rig.api.container("p") { $0["restartCount"] == 1 && $0[path: ["state", "running"]] != nil }
      #expect(try await rig.line("p", "second") == "")
      #expect(try await rig.output("p", PodLogOptions(previous: true)) == "run\n")
      let stamped = try await rig.output("p", PodLogOptions(tailLines: 1, timestamps: true))
      #expect(stamped.hasSuffix("Z second\n"))
      let later = try await rig.output("p", PodLogOptions(sinceTime: Timestamp(secondsSinceEpoch: 4_000_000_000)))
      #expect(later == "")
      #expect(throws: PodLogError.containerNotFound("x", known: ["main"])) {
        try rig.node.log(of: ObjectKey(namespace: "ns", name: "p"), PodLogOptions(container: "x"))
      }
    }
  }

  @Test("While the API server is away pods live on, and the status catches up")
  func lostServer() async throws {
    try await NodeRig.with { rig in
      try rig.run(
        "p", "echo pid $$$$; while [ ! -e /f/go ]; do sleep 0.05; done; rm /f/go; exit 7",
        container: #","volumeMounts":[{"name":"f","mountPath":"/f"}]"#,
        spec: #","volumes":[{"name":"f","emptyDir":{}}]"#)
      let pod = await rig.ready("p")
      let first = try await rig.line("p", "pid ")
      rig.api.setDown(true)
      let uid = pod?[path: ["metadata", "uid"]]?.stringValue ?? ""
      _ = FileManager.default.createFile(atPath: "\(rig.folder)/pods/\(uid)/volumes/f/go", contents: nil)
      // The next run says so in its log, though nobody hears of it.
      var second = first
      while second == first { second = try await rig.line("p", "pid ") }
      rig.api.setDown(false)
      let status = await rig.api.container("p") { $0["restartCount"] == 1 && $0[path: ["state", "running"]] != nil }
      #expect(status[path: ["lastState", "terminated", "exitCode"]] == 7)
    }
  }

  @Test("A pod beyond the node's means is refused with the kubelet's reason")
  func refused() async throws {
    try await NodeRig.with(configure: {
      $0.maximumPods = 2; $0.cpu = Quantity(1)
    }) { rig in
      try rig.run("big", "sleep 1000", container: #","resources":{"requests":{"cpu":"1500m"}}"#)
      let big = await rig.phase("big", "Failed")
      #expect(big?[path: ["status", "reason"]] == "OutOfcpu")
      for name in ["a", "b"] {
        try rig.run(name, "sleep 1000", spec: #","terminationGracePeriodSeconds":0"#)
        await rig.ready(name)
      }
      try rig.run("c", "sleep 1000")
      let c = await rig.phase("c", "Failed")
      #expect(c?[path: ["status", "reason"]] == "OutOfpods")
      // A place that becomes free is given away again.
      rig.api.delete("a", grace: 0)
      await rig.api.pod("a") { $0 == nil }
      try rig.run("d", "sleep 1000")
      await rig.ready("d")
    }
  }

  @Test("The use of CPU and memory is that of the whole process tree")
  func usage() async throws {
    try await NodeRig.with { rig in
      try rig.run("busy", "python3 -c 'x = bytearray(50_000_000)\nwhile True: pass' & wait")
      try rig.run("idle", "sleep 1000")
      await rig.ready("busy")
      await rig.ready("idle")
      try await eventually {
        let samples = rig.node.podMetrics(namespace: "ns")
        guard samples.count == 2, let busy = samples[0].containers.first else { return false }
        return busy.cpuNanocores > 50_000_000 && busy.memoryBytes > 50_000_000
      }
      let samples = rig.node.podMetrics(namespace: nil)
      #expect(samples.map(\.key.name) == ["busy", "idle"])
      #expect(samples[1].containers[0].memoryBytes < 10_000_000)
      #expect(samples[1].containers[0].cpuNanocores < 50_000_000)
      #expect(samples[0].json[path: ["containers", "0", "usage", "cpu"]]?.stringValue?.hasSuffix("n") == true)
    }
  }

  @Test("A node that starts again runs its pods anew and forgets nothing of their restarts")
  func restartOfNode() async throws {
    let api = FakePodAPI()
    try await NodeRig.with(api: api) { rig in
      try rig.run("p", "sleep 1000")
      try rig.run("once", "sleep 1000", policy: "Never")
      await rig.ready("p")
      await rig.ready("once")
      // The server sees nothing of the end, as when the node is killed.
      api.setDown(true)
    }
    api.setDown(false)
    try await NodeRig.with(api: api) { rig in
      let p = await api.container("p") { $0["restartCount"] == 1 && $0[path: ["state", "running"]] != nil }
      #expect(p[path: ["lastState", "terminated", "reason"]] == "ContainerStatusUnknown")
      let once = await rig.phase("once", "Failed")
      #expect(once?[path: ["status", "reason"]] == "NodeRestarted")
    }
  }

  @Test("Sidecars run before, beside and after the app, and hooks run before SIGTERM")
  func sidecarAndHooks() async throws {
    try await NodeRig.with { rig in
      let mounts = #""volumeMounts":[{"name":"f","mountPath":"/f"}]"#
      func script(_ name: String) -> String {
        #"trap 'echo \#(name) ends >> /f/order; exit 0' TERM; echo \#(name) runs >> /f/order; touch /f/\#(name); while :; do sleep 0.05; done"#
      }
      try rig.api.create(
        "p",
        #"""
        {"terminationGracePeriodSeconds":20,
         "initContainers":[{"name":"proxy","restartPolicy":"Always","command":["sh","-c","\#(script("proxy"))"],\#(mounts),
           "startupProbe":{"exec":{"command":["test","-e","/f/proxy"]},"periodSeconds":1,"failureThreshold":60}},
          {"name":"setup","command":["sh","-c","echo setup >> /f/order"],\#(mounts)}],
         "containers":[{"name":"main","command":["sh","-c","\#(script("main"))"],\#(mounts),
           "readinessProbe":{"exec":{"command":["test","-e","/f/main"]},"periodSeconds":1},
           "lifecycle":{"preStop":{"exec":{"command":["sh","-c","echo hook >> /f/order"]}}}}],
         "volumes":[{"name":"f","hostPath":{"path":"\#(rig.folder)/shared","type":"DirectoryOrCreate"}}]}
        """#)
      await rig.ready("p")
      rig.api.delete("p", grace: 20)
      await rig.api.pod("p") { $0 == nil }
      let order = FileManager.default.contents(atPath: "\(rig.folder)/shared/order") ?? Data()
      let expected = ["proxy runs", "setup", "main runs", "hook", "main ends", "proxy ends"]
      #expect(String(decoding: order, as: UTF8.self).split(separator: "\n").map(String.init) == expected)
    }
  }

  @Test("Graceful shutdown gives pods their time and tells the API server how they ended")
  func gracefulEnd() async throws {
    let api = FakePodAPI()
    try await NodeRig.with(api: api, endsGracefully: true) { rig in
      try rig.run("p", "trap 'exit 9' TERM; while :; do sleep 0.05; done")
      await rig.ready("p")
    }
    let pod = await api.pod("p") { $0?[path: ["status", "phase"]] == "Failed" }
    #expect(pod?[path: ["status", "reason"]] == "Terminated")
    #expect(FakePodAPI.status(pod ?? .null, "main")[path: ["state", "terminated", "exitCode"]] == 9)
    let conditions = api.written("/api/v1/nodes/test/status")?[path: ["status", "conditions"]]?.arrayValue
    #expect(conditions?.first { $0["type"] == "Ready" }?["status"] == "False")
  }

  @Test("Two hundred pods at once all run")
  func many() async throws {
    try await NodeRig.with { rig in
      for number in 0..<200 { try rig.run("p\(number)", "exec sleep 1000") }
      for number in 0..<200 { await rig.ready("p\(number)") }
      #expect(rig.node.runningPods == 200)
      for number in 0..<200 { rig.api.delete("p\(number)", grace: 0) }
      for number in 0..<200 { await rig.api.pod("p\(number)") { $0 == nil } }
    }
  }

  @Test("The node registers itself with what it has, and keeps its lease")
  func registers() async throws {
    try await NodeRig.with { rig in
      let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
      try await eventually { rig.api.written(path) != nil }
      let node = rig.api.written("/api/v1/nodes")
      #expect(node?[path: ["metadata", "name"]] == "test")
      let status = rig.api.written("/api/v1/nodes/test/status")?["status"]
      #expect(status?[path: ["allocatable", "pods"]] == "300")
      #expect(rig.api.written(path)?[path: ["spec", "holderIdentity"]] == "test")
    }
  }
}
