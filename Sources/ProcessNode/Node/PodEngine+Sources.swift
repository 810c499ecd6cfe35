import KubernetesCore
import Synchronization

extension PodEngine {
  // MARK: Logs

  func log(of key: ObjectKey, _ options: PodLogOptions) throws(PodLogError) -> PodLog {
    let found = state.withLock { state in
      // The one that is there now, if another of the same name has just gone.
      state.entries.values.filter { $0.pod.key == key }.min { !$0.isGone && $1.isGone }
    }
    guard let entry = found else { throw .podNotFound(key) }
    let containers = entry.pod.manifest.containers
    let apps = containers.filter { $0.role == .app }
    guard let name = options.container ?? (containers.count == 1 || apps.count == 1 ? apps.first?.name : nil) else {
      throw .containerRequired(containers.map(\.name))
    }
    guard let index = entry.pod.manifest.index(of: name) else {
      throw .containerNotFound(name, known: containers.map(\.name))
    }
    let uid = entry.pod.uid
    let present = entry.lifecycle.run(of: index) ?? 0
    let folder = logFolder(uid, name)
    // While a container waits to start again, its last run's output is what there is.
    let runs = options.previous ? [present - 1] : [present, present - 1]
    guard let run = runs.first(where: { $0 > 0 && Files.kind(of: "\(folder)/\($0).log").exists }) else {
      throw .notStarted(name, isPrevious: options.previous)
    }
    return PodLog(path: "\(folder)/\(run).log", options: options, time: time) { [weak self] in
      guard let self else { return true }
      return self.state.withLock { state in
        guard let entry = state.entries[uid], entry.lifecycle.run(of: index) == run else { return true }
        return !entry.lifecycle.isActive(index)
      }
    }
  }

  // MARK: Use of CPU and memory

  /// Asks all shims for a reading, reads the machine, and has tokens renewed that are due.
  func sample() {
    let now = self.now
    let (processes, due) = state.withLock { state -> ([ContainerProcess], [String]) in
      let processes = state.entries.values.flatMap { $0.processes.values }
      let due = state.entries.filter { $0.value.tokens.contains { $0.renewAt <= now.monotonic } }.map(\.key)
      return (processes, due)
    }
    for process in processes { process.askUsage() }
    for uid in due { add(.renewTokens(uid: uid)) }
    guard let cpu = Machine.cpuNanoseconds(), let total = Machine.memory("MemTotal:"),
      let free = Machine.memory("MemAvailable:")
    else { return }
    let sample = UsageWindow.Sample(
      at: now.monotonic, wall: now.wall, cpuNanoseconds: cpu, memoryBytes: UInt64(max(0, total - free)))
    state.withLock { $0.machineUsage.add(sample) }
  }

  func podMetrics(namespace: String?) -> [PodMetricsSample] {
    state.withLock { state in
      state.entries.values.compactMap { entry -> PodMetricsSample? in
        if let namespace, entry.pod.key.namespace != namespace { return nil }
        let running = entry.lifecycle.runningContainers
        let usages = running.compactMap { entry.usage[$0]?.usage }
        guard !running.isEmpty, !entry.isGone, usages.count == running.count,
          let timestamp = usages.map(\.timestamp).max(), let window = usages.map(\.window).max()
        else { return nil }
        return PodMetricsSample(
          key: entry.pod.key, labels: entry.pod.manifest.labels, timestamp: timestamp, window: window,
          containers: zip(running, usages).map { index, usage in
            PodMetricsSample.Container(
              name: entry.pod.manifest.containers[index].name, cpuNanocores: usage.cpuNanocores,
              memoryBytes: usage.memoryBytes)
          })
      }
      .sorted { $0.key < $1.key }
    }
  }

  func nodeMetrics() -> NodeMetricsSample? {
    guard let usage = state.withLock({ $0.machineUsage.usage }) else { return nil }
    return NodeMetricsSample(
      name: configuration.name, cpuNanocores: usage.cpuNanocores, memoryBytes: usage.memoryBytes,
      timestamp: usage.timestamp, window: usage.window)
  }
}
