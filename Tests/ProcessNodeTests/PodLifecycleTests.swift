import KubernetesCore
import ProcessNode
import TestSupport
import Testing

@Suite struct PodLifecycleTests {
  private let probe = Probe(.tcpSocket(host: nil, port: .number(1)), period: .seconds(10), failureThreshold: 3)

  @Test("Init containers run one after the other, then all app containers at once")
  func initOrder() {
    var rig = LifecycleRig(
      LifecycleRig.pod([container("one", .initial), container("two", .initial), container("a"), container("b")]))
    rig.begin()
    #expect(rig.take() == [.start(0, run: 1)])
    #expect(rig.state("a") == "PodInitializing")
    rig.start(0)
    rig.exit(0, .code(0))
    #expect(rig.take() == [.start(1, run: 1)])
    #expect(rig.condition("Initialized") == false)
    rig.start(1)
    rig.exit(1, .code(0))
    #expect(rig.take() == [.start(2, run: 1), .start(3, run: 1)])
    rig.start(2)
    #expect(rig.life.phase == "Running" || rig.life.phase == "Pending")
    rig.start(3)
    #expect(rig.life.phase == "Running")
    #expect(rig.condition("Ready") == true && rig.condition("Initialized") == true)
  }

  @Test("A sidecar lets the next container start when its startup probe has succeeded, and outlives the app")
  func sidecar() {
    let pod = LifecycleRig.pod(
      [container("proxy", .sidecar, startup: probe), container("setup", .initial), container("app")], policy: .never)
    var rig = LifecycleRig(pod)
    rig.begin()
    #expect(rig.take() == [.start(0, run: 1)])
    rig.start(0)
    rig.answer(.startup, .failure("not yet"))
    #expect(rig.take() == [])
    rig.pass(.seconds(10))
    rig.answer(.startup, .success)
    #expect(rig.take() == [.start(1, run: 1)])
    rig.start(1)
    rig.exit(1, .code(0))
    #expect(rig.take() == [.start(2, run: 1)])
    rig.start(2)
    rig.exit(2, .code(0))
    #expect(rig.take() == [.terminate(0, run: 1)])
    #expect(rig.life.phase == "Running" && rig.finishes == 0)
    rig.exit(0, .signal(15))
    #expect(rig.finishes == 1)
    #expect(rig.life.phase == "Succeeded")
    #expect(rig.state("proxy") == "Error 143")
  }

  @Test("A sidecar that dies is started again, whatever the pod's policy, and nobody waits for it then")
  func sidecarRestart() {
    var rig = LifecycleRig(LifecycleRig.pod([container("proxy", .sidecar), container("app")], policy: .never))
    rig.begin()
    rig.start(0)
    #expect(rig.take() == [.start(0, run: 1), .start(1, run: 1)])
    rig.start(1)
    rig.exit(0, .signal(9))
    #expect(rig.take() == [.start(0, run: 2)])
    #expect(rig.state("app") == "ready")
  }

  @Test("Restarts wait 0, 10, 20 … 300 s, and begin anew after a run of ten minutes")
  func backoff() {
    var rig = LifecycleRig(LifecycleRig.pod([container("app")]))
    rig.begin()
    var pauses: [Int] = []
    for _ in 0..<9 {
      rig.start(0)
      _ = rig.take()
      rig.exit(0, .code(1))
      let begin = rig.now.monotonic
      if rig.asked.isEmpty {
        #expect(rig.state("app") == "CrashLoopBackOff")
        if let deadline = rig.life.nextDeadline { rig.pass(deadline - begin) }
      }
      pauses.append(Int((rig.now.monotonic - begin).components.seconds))
    }
    #expect(pauses == [0, 10, 20, 40, 80, 160, 300, 300, 300])
    #expect(rig.restarts("app") == 9)
    rig.start(0)
    rig.pass(.seconds(600))
    _ = rig.take()
    rig.exit(0, .code(1))
    #expect(rig.take() == [.start(0, run: 11)])
    #expect(rig.life.snapshot.containers[0].lastTermination?.reason == "Error")
  }

  @Test(
    "What follows an exit depends on the policy",
    arguments: [
      (PodManifest.RestartPolicy.always, Int32(0), "Running", true), (.always, 1, "Running", true),
      (.onFailure, 0, "Succeeded", false), (.onFailure, 1, "Running", true),
      (.never, 0, "Succeeded", false), (.never, 3, "Failed", false),
    ])
  func policies(_ policy: PodManifest.RestartPolicy, _ code: Int32, _ phase: String, _ restarts: Bool) {
    var rig = LifecycleRig(LifecycleRig.pod([container("app")], policy: policy))
    rig.begin()
    rig.start(0)
    _ = rig.take()
    rig.exit(0, .code(code))
    #expect(rig.take() == (restarts ? [.start(0, run: 2)] : []))
    #expect(rig.life.phase == phase)
    #expect(rig.finishes == (restarts ? 0 : 1))
    #expect(rig.condition("Ready") == false)
  }

  @Test("An init container that fails ends a pod that may not restart, and is tried again otherwise")
  func initFailure() {
    var never = LifecycleRig(LifecycleRig.pod([container("setup", .initial), container("app")], policy: .never))
    never.begin()
    never.start(0)
    never.exit(0, .code(2))
    #expect(never.finishes == 1 && never.life.phase == "Failed")
    var always = LifecycleRig(LifecycleRig.pod([container("setup", .initial), container("app")]))
    always.begin()
    always.start(0)
    _ = always.take()
    always.exit(0, .code(2))
    #expect(always.take() == [.start(0, run: 2)])
    #expect(always.life.phase == "Pending")
  }

  @Test("Deletion runs the hook, then sends SIGTERM, then kills when the grace period is over")
  func deletion() {
    let hook = ProbeAction.exec(["drain"])
    var rig = LifecycleRig(LifecycleRig.pod([container("app", preStop: hook)], grace: 30))
    rig.begin()
    rig.start(0)
    _ = rig.take()
    rig.send(.deletionRequested(grace: .seconds(30)))
    guard case .check(let id, hook) = rig.asked.first, id.kind == .preStop else {
      Issue.record("no hook: \(rig.asked)")
      return
    }
    rig.pass(.seconds(10))
    rig.answer(.preStop, .success)
    #expect(rig.take() == [.terminate(0, run: 1)])
    rig.pass(.seconds(19))
    #expect(rig.take() == [])
    rig.pass(.seconds(1))
    #expect(rig.take() == [.kill(0, run: 1)])
    rig.exit(0, .signal(9))
    #expect(rig.finishes == 1)
    #expect(rig.state("app") == "Error 137")
  }

  @Test("A hook that takes all of the grace period is cut off, and the process still gets two seconds")
  func lateHook() {
    var rig = LifecycleRig(LifecycleRig.pod([container("app", preStop: .exec(["sleep"]))], grace: 5))
    rig.begin()
    rig.start(0)
    rig.send(.deletionRequested(grace: .seconds(5)))
    _ = rig.take()
    rig.pass(.seconds(5))
    let effects = rig.take()
    #expect(effects.count == 2 && effects.last == .terminate(0, run: 1))
    if case .cancel = effects.first {} else { Issue.record("the hook goes on: \(effects)") }
    rig.pass(.seconds(2))
    #expect(rig.take() == [.kill(0, run: 1)])
  }

  @Test("Sidecars are asked to end after the app, the last one first, and all are killed in the end")
  func sidecarOrder() {
    let pod = LifecycleRig.pod(
      [container("first", .sidecar), container("second", .sidecar), container("app")], grace: 10)
    var rig = LifecycleRig(pod)
    rig.begin()
    for index in 0..<3 { rig.start(index) }
    _ = rig.take()
    rig.send(.deletionRequested(grace: .seconds(10)))
    #expect(rig.take() == [.terminate(2, run: 1)])
    rig.exit(2, .code(0))
    #expect(rig.take() == [.terminate(1, run: 1)])
    rig.pass(.seconds(10))
    #expect(rig.take() == [.terminate(0, run: 1), .kill(1, run: 1)])
    rig.pass(.seconds(2))
    #expect(rig.take() == [.kill(0, run: 1)])
    rig.exit(1, .signal(9))
    rig.exit(0, .signal(9))
    #expect(rig.finishes == 1)
  }

  @Test("A second deletion with less grace hurries the first")
  func hurried() {
    var rig = LifecycleRig(LifecycleRig.pod([container("app")]))
    rig.begin()
    rig.start(0)
    rig.send(.deletionRequested(grace: .seconds(30)))
    _ = rig.take()
    rig.send(.deletionRequested(grace: .zero))
    #expect(rig.take() == [.kill(0, run: 1)])
  }

  @Test("Deletion without grace kills at once")
  func immediate() {
    var rig = LifecycleRig(LifecycleRig.pod([container("app", preStop: .exec(["x"]))]))
    rig.begin()
    rig.start(0)
    _ = rig.take()
    rig.send(.deletionRequested(grace: .zero))
    #expect(rig.take() == [.kill(0, run: 1)])
  }

  @Test("A container that is just being started when its pod is deleted ends as soon as it runs")
  func deletionWhileStarting() {
    var rig = LifecycleRig(LifecycleRig.pod([container("app")]))
    rig.begin()
    _ = rig.take()
    rig.send(.deletionRequested(grace: .seconds(5)))
    #expect(!rig.life.wantsStart(0, run: 1) && rig.finishes == 0)
    rig.start(0)
    #expect(rig.take() == [.terminate(0, run: 1)])
    rig.exit(0, .signal(15))
    #expect(rig.finishes == 1)
    // Before its volumes are there, nothing is waited for.
    var early = LifecycleRig(LifecycleRig.pod([container("app")]))
    early.send(.admitted)
    early.send(.deletionRequested(grace: .seconds(5)))
    #expect(early.finishes == 1)
    early.send(.prepared)
    #expect(early.take() == [.prepare])
  }

  @Test("A liveness probe that fails three times ends the run, and another one begins")
  func liveness() {
    var rig = LifecycleRig(LifecycleRig.pod([container("app", liveness: probe)], grace: 4))
    rig.begin()
    rig.start(0)
    for attempt in 0..<3 {
      rig.answer(.liveness, .failure("\(attempt)"))
      if attempt < 2 { rig.pass(.seconds(10)) }
    }
    #expect(rig.take() == [.terminate(0, run: 1)])
    rig.pass(.seconds(4))
    #expect(rig.take() == [.kill(0, run: 1)])
    rig.exit(0, .signal(9))
    #expect(rig.take() == [.start(0, run: 2)])
    #expect(rig.notes.filter { $0 == "Unhealthy" }.count == 3 && rig.notes.contains("Killing"))
  }

  @Test("A probe without an answer is given up after its timeout and counts as failed")
  func probeTimeout() {
    var probe = self.probe
    probe.timeout = .seconds(3)
    probe.failureThreshold = 1
    var rig = LifecycleRig(LifecycleRig.pod([container("app", readiness: probe)]))
    rig.begin()
    rig.start(0)
    guard case .check(let id, _)? = rig.take().last else {
      Issue.record("no probe")
      return
    }
    rig.pass(.seconds(3))
    #expect(rig.take() == [.cancel(id)])
    // An answer that comes too late counts for nothing.
    rig.send(.checked(id, .success))
    #expect(rig.state("app") == "running")
    rig.pass(.seconds(7))
    rig.answer(.readiness, .success)
    #expect(rig.state("app") == "ready")
  }

  @Test("Thresholds count in a row, and readiness waits for the startup probe and the initial delay")
  func thresholds() {
    var readiness = probe
    readiness.successThreshold = 2
    readiness.failureThreshold = 2
    readiness.initialDelay = .seconds(25)
    var rig = LifecycleRig(LifecycleRig.pod([container("app", startup: probe, readiness: readiness)]))
    rig.begin()
    rig.start(0)
    rig.answer(.startup, .success)
    #expect(rig.take() == [])
    rig.pass(.seconds(24))
    #expect(rig.take() == [])
    rig.pass(.seconds(1))
    rig.answer(.readiness, .success)
    #expect(rig.state("app") == "running")
    rig.pass(.seconds(10))
    rig.answer(.readiness, .success)
    #expect(rig.state("app") == "ready")
    rig.pass(.seconds(10))
    rig.answer(.readiness, .failure("x"))
    #expect(rig.state("app") == "ready")
    rig.pass(.seconds(10))
    rig.answer(.readiness, .failure("x"))
    #expect(rig.state("app") == "running" && rig.condition("Ready") == false)
  }

  @Test("What a container refers to is looked for again; a program that can't be run counts as a run")
  func startFailures() {
    var rig = LifecycleRig(LifecycleRig.pod([container("app")]))
    rig.begin()
    _ = rig.take()
    rig.send(.startFailed(0, run: 1, .waiting(reason: "CreateContainerConfigError", message: "secret \"x\" not found")))
    #expect(rig.state("app") == "CreateContainerConfigError" && rig.life.phase == "Pending")
    rig.pass(.seconds(5))
    #expect(rig.take() == [.start(0, run: 2)])
    #expect(rig.restarts("app") == 0)
    rig.send(.startFailed(0, run: 2, .notRunnable("no such executable")))
    #expect(rig.take() == [.start(0, run: 3)])
    rig.send(.startFailed(0, run: 3, .notRunnable("no such executable")))
    #expect(rig.state("app") == "CrashLoopBackOff")
    #expect(rig.life.snapshot.containers[0].lastTermination?.message == "no such executable")
    #expect(rig.restarts("app") == 1)
  }

  @Test("A node that starts again runs its pods anew, or fails those that may not")
  func inherited() {
    let inherited = ["app": InheritedContainer(restartCount: 2, hadStarted: true)]
    var rig = LifecycleRig(LifecycleRig.pod([container("app")]), inherited: inherited)
    rig.begin()
    #expect(rig.take() == [.start(0, run: 1)])
    #expect(rig.restarts("app") == 3)
    #expect(rig.life.snapshot.containers[0].lastTermination?.reason == "ContainerStatusUnknown")
    var never = LifecycleRig(LifecycleRig.pod([container("app")], policy: .never), inherited: inherited)
    never.send(.admitted)
    #expect(never.finishes == 1 && never.life.phase == "Failed" && never.asked.isEmpty)
    #expect(never.life.snapshot.reason == "NodeRestarted")
  }

  @Test("A pod past its active deadline fails, and a node's end fails what runs")
  func podFailures() {
    var pod = LifecycleRig.pod([container("app")])
    pod.activeDeadline = .seconds(60)
    var rig = LifecycleRig(pod)
    rig.begin()
    rig.start(0)
    _ = rig.take()
    rig.pass(.seconds(60))
    #expect(rig.take() == [.terminate(0, run: 1)])
    rig.exit(0, .code(0))
    #expect(rig.life.phase == "Failed" && rig.life.snapshot.reason == "DeadlineExceeded")
    var ending = LifecycleRig(LifecycleRig.pod([container("app")]))
    ending.begin()
    ending.start(0)
    ending.send(.nodeEnding(grace: .seconds(1)))
    ending.exit(0, .code(0))
    #expect(ending.life.phase == "Failed" && ending.life.snapshot.reason == "Terminated")
  }

  @Test("News of an older run changes nothing")
  func lateNews() {
    var rig = LifecycleRig(LifecycleRig.pod([container("app")]))
    rig.begin()
    rig.start(0)
    rig.exit(0, .code(1))
    rig.start(0)
    _ = rig.take()
    rig.send(.exited(0, run: 1, .code(0)))
    rig.send(.started(0, run: 1))
    #expect(rig.state("app") == "ready" && rig.take() == [])
  }
}
