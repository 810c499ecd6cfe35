import KubernetesCore
import KubernetesRuntime
import Logging
import Synchronization

extension PodEngine {
  /// Does what takes long; outcomes go to the pod's life, which decides about another attempt.
  func carryOut(_ job: Job) async -> WorkOutcome {
    switch job {
    case .prepare(let uid): await prepare(uid)
    case .start(let uid, let container): await start(uid, container)
    case .renewTokens(let uid): return await renewTokens(uid)
    case .remove(let uid): remove(uid)
    }
    return .done
  }

  private func prepare(_ uid: String) async {
    guard let (pod, facts) = state.withLock({ $0.entries[uid].map { ($0.pod.manifest, $0.facts) } }) else { return }
    let volumes = PodVolumes(objects: objects, time: time, pod: pod, folder: podFolder(uid))
    do {
      try Files.makeFolder(podFolder(uid))
      let made = try await volumes.make(facts)
      state.withLock { state in
        guard var facts = state.entries[uid]?.facts else { return }
        facts.volumes = made.folders
        for volume in pod.volumes {
          guard let folder = made.folders[volume.name] else { continue }
          facts.base.append(Variable(PodManifest.volumeVariable(volume.name), folder))
        }
        state.entries[uid]?.facts = facts
        state.entries[uid]?.tokens = made.tokens
      }
      send(.prepared, to: uid)
    } catch {
      send(.preparationFailed("\(error)"), to: uid)
    }
    // It may have ended, and been forgotten, meanwhile.
    if state.withLock({ $0.entries[uid] == nil }) { Files.remove(podFolder(uid)) }
  }

  private func start(_ uid: String, _ container: Int) async {
    let asked = state.withLock { state -> (PodManifest, LaunchFacts, run: Int, isWanted: Bool)? in
      guard let entry = state.entries[uid], let run = entry.lifecycle.run(of: container) else { return nil }
      return (entry.pod.manifest, entry.facts, run, entry.lifecycle.wantsStart(container, run: run))
    }
    guard let (pod, facts, run, isWanted) = asked else { return }
    guard isWanted else { return send(.startFailed(container, run: run, .abandoned), to: uid) }
    do {
      let manifest = pod.containers[container]
      let values = try await values(LaunchPlan.references(of: manifest), pod)
      let plan = try LaunchPlan(manifest, of: pod, facts, objects: values)
      let identity = StatusSnapshot.Container.identity(uid: uid, name: manifest.name, run: run)
      let launch = Launch(
        arguments: plan.arguments,
        environment: plan.environment.map { "\($0.name)=\($0.value)" } + ["\(Strays.variable)=\(identity)"],
        workingDirectory: plan.workingDirectory ?? podFolder(uid), logPath: try logPath(uid, manifest.name, run),
        logFileBytes: configuration.logFileBytes, logFiles: configuration.logFiles)
      state.withLock { $0.entries[uid]?.launches[container] = launch }
      _ = try ContainerProcess.start(launch, shimPath: configuration.shimPath, loop: loop) {
        [weak self] process, event in
        self?.take(event, of: process, uid, container, run)
      }
    } catch {
      send(.startFailed(container, run: run, Self.failure(error)), to: uid)
    }
  }

  /// The ConfigMaps and Secrets that a container refers to: as they are, or as they were when the API server is away.
  private func values(
    _ references: [DataReference], _ pod: PodManifest
  ) async throws -> [DataReference: [String: String]] {
    do {
      let values = try await objects.texts(references, namespace: pod.key.namespace)
      state.withLock { state in
        for (reference, value) in values { state.entries[pod.uid]?.values[reference] = value }
      }
      return values
    } catch let error as KubernetesError {
      let known = state.withLock { $0.entries[pod.uid]?.values ?? [:] }
      guard case .retry = error.disposition, references.allSatisfy({ known[$0] != nil }) else { throw error }
      return known
    }
  }

  private static func failure(_ error: any Error) -> PodLifecycle.StartFailure {
    switch error {
    case let problem as LaunchProblem: .waiting(reason: problem.reason, message: problem.message)
    case let error as KubernetesError: .waiting(reason: "CreateContainerConfigError", message: error.message)
    default: .waiting(reason: "CreateContainerError", message: "\(error)")
    }
  }

  /// Where a run's output goes; makes the folder, and removes the logs of all runs but the one before.
  private func logPath(_ uid: String, _ container: String, _ run: Int) throws(NodeError) -> String {
    let folder = logFolder(uid, container)
    try Files.makeFolder(folder)
    for name in Files.names(in: folder) {
      if let number = name.split(separator: ".").first.flatMap({ Int($0) }), number < run - 1 {
        Files.remove("\(folder)/\(name)")
      }
    }
    return "\(folder)/\(run).log"
  }

  func logFolder(_ uid: String, _ container: String) -> String { "\(podFolder(uid))/logs/\(container)" }

  /// What a container's shim tells; on the loop's thread.
  private func take(
    _ event: ContainerProcess.Event, of process: ContainerProcess, _ uid: String, _ container: Int, _ run: Int
  ) {
    switch event {
    case .started:
      let isKnown = state.withLock { state in
        state.entries[uid]?.processes[container] = process
        state.entries[uid]?.usage[container] = UsageWindow()
        return state.entries[uid] != nil
      }
      if !isKnown { return process.kill() }
      // The first reading, so that the second one, a period later, gives a rate.
      process.askUsage()
      send(.started(container, run: run), to: uid)
    case .failed(let reason): send(.startFailed(container, run: run, .notRunnable(reason)), to: uid)
    case .usage(let usage):
      let sample = UsageWindow.Sample(
        at: time.monotonicNow, wall: time.wallNow, cpuNanoseconds: usage.cpuNanoseconds, memoryBytes: usage.memoryBytes)
      state.withLock { state in
        guard state.entries[uid]?.processes[container] === process else { return }
        state.entries[uid]?.usage[container, default: UsageWindow()].add(sample)
      }
    case .exited(let status, _, let lostBytes):
      if lostBytes > 0 {
        logger.warning(
          "output of a container was lost: its log can't be written",
          metadata: ["pod.uid": "\(uid)", "container": "\(container)", "bytes": "\(lostBytes)"])
      }
      forget(process, uid, container)
      send(.exited(container, run: run, status), to: uid)
    case .lost:
      forget(process, uid, container)
      // Seldom enough that the loop's thread may look through /proc for it.
      if let name = state.withLock({ $0.entries[uid]?.pod.manifest.containers[container].name }) {
        Strays.kill(StatusSnapshot.Container.identity(uid: uid, name: name, run: run))
      }
      send(
        .exited(container, run: run, .unknown("its swarmscale-shim was killed; its processes ended with it")), to: uid)
    }
  }

  private func forget(_ process: ContainerProcess, _ uid: String, _ container: Int) {
    state.withLock { state in
      guard state.entries[uid]?.processes[container] === process else { return }
      state.entries[uid]?.processes[container] = nil
      state.entries[uid]?.usage[container] = nil
    }
  }

  private func renewTokens(_ uid: String) async -> WorkOutcome {
    let now = time.monotonicNow
    guard let entry = state.withLock({ $0.entries[uid] }), !entry.lifecycle.isFinished else { return .done }
    let volumes = PodVolumes(objects: objects, time: time, pod: entry.pod.manifest, folder: podFolder(uid))
    for token in entry.tokens where token.renewAt <= now {
      var token = token
      do {
        try await volumes.renew(&token)
      } catch {
        logger.warning(
          "a service account token could not be renewed; trying again",
          metadata: ["pod": "\(entry.pod.key)", "error": "\(error)"])
        return .retry(after: nil)
      }
      let renewed = token
      state.withLock { state in
        guard let place = state.entries[uid]?.tokens.firstIndex(where: { $0.path == renewed.path }) else { return }
        state.entries[uid]?.tokens[place] = renewed
      }
    }
    return .done
  }

  private func remove(_ uid: String) {
    let isRemoved = state.withLock { state in
      guard let entry = state.entries[uid], entry.isGone, entry.lifecycle.isFinished else { return false }
      state.entries[uid] = nil
      return true
    }
    if isRemoved { Files.remove(podFolder(uid)) }
  }
}
