import KubernetesCore
import Synchronization

extension PodEngine {
  /// Starts a probe or hook.
  func begin(_ id: PodLifecycle.CheckID, _ action: ProbeAction, _ uid: String) {
    guard
      let (manifest, facts, launch) = state.withLock({ state in
        state.entries[uid].map { ($0.pod.manifest.containers[id.container], $0.facts, $0.launches[id.container]) }
      })
    else { return }
    switch action {
    case .exec(let command): beginExec(id, command, manifest, facts, launch, uid)
    case .httpGet(let host, let port, let path, let isTLS, let headers):
      let host = target(host, facts)
      guard let port = number(port, manifest) else { return end(id, .failure("the port has no number"), uid) }
      if isTLS { return end(id, .failure("local mode has no probes over HTTPS; use HTTP or exec"), uid) }
      beginNetwork(
        id, host, port, NetworkCheck.request(host: host, port: port, path: path, headers: headers), uid)
    case .tcpSocket(let host, let port):
      guard let port = number(port, manifest) else { return end(id, .failure("the port has no number"), uid) }
      beginNetwork(id, target(host, facts), port, nil, uid)
    case .unsupported(let words): end(id, .failure(words), uid)
    }
  }

  private func target(_ host: String?, _ facts: LaunchFacts) -> String {
    guard let host else { return facts.podIP }
    return facts.mapsLoopback ? Expansion.mapLoopback(host, to: facts.podIP) : host
  }

  private func number(_ port: ProbePort, _ manifest: ContainerManifest) -> Int? {
    switch port {
    case .number(let number): number
    case .name(let name): manifest.namedPorts[name] ?? Int(name)
    }
  }

  private func beginNetwork(_ id: PodLifecycle.CheckID, _ host: String, _ port: Int, _ request: [UInt8]?, _ uid: String)
  {
    let slot = [id.container, id.kind.rawValue]
    if let before = state.withLock({ $0.entries[uid]?.lingering.removeValue(forKey: slot) }) { loop.drop(before) }
    let registration = NetworkCheck.start(host: host, port: port, request: request, loop: loop) { [weak self] outcome in
      self?.end(id, outcome, uid)
    }
    guard let registration else { return }
    state.withLock { $0.entries[uid]?.lingering[slot] = registration }
    keep(.connection(registration), id, uid)
  }

  private func beginExec(
    _ id: PodLifecycle.CheckID, _ command: [String], _ manifest: ContainerManifest, _ facts: LaunchFacts,
    _ launch: Launch?, _ uid: String
  ) {
    guard var launch else { return end(id, .failure("the container isn't running"), uid) }
    let paths = LaunchPlan.paths(manifest, facts)
    launch.arguments = command.map { text in
      let mapped = Expansion.mapPaths(text, paths)
      return facts.mapsLoopback ? Expansion.mapLoopback(mapped, to: facts.podIP) : mapped
    }
    launch.logPath = nil
    if launch.arguments.isEmpty { return end(id, .failure("exec names no command"), uid) }
    do {
      let process = try ContainerProcess.start(launch, shimPath: configuration.shimPath, loop: loop) {
        [weak self] _, event in
        switch event {
        case .started, .usage: break
        case .failed(let reason): self?.end(id, .failure(reason), uid)
        case .lost: self?.end(id, .failure("its swarmscale-shim was killed"), uid)
        case .exited(.code(0), _, _): self?.end(id, .success, uid)
        case .exited(let status, let output, _): self?.end(id, .failure(Self.words(status, output)), uid)
        }
      }
      keep(.process(process), id, uid)
    } catch {
      end(id, .failure(error.message), uid)
    }
  }

  private static func words(_ status: PodLifecycle.ExitStatus, _ output: [UInt8]) -> String {
    let text = String(decoding: output.prefix(512), as: UTF8.self)
    let end =
      switch status {
      case .code(let code): "exit status \(code)"
      case .signal(let signal): "ended by signal \(signal)"
      case .unknown(let words): words
      }
    return text.isEmpty ? end : "\(end): \(text)"
  }

  /// Notes a check, for `cancel`; one that has ended already is noted until the run ends, which costs a few bytes.
  private func keep(_ check: RunningCheck, _ id: PodLifecycle.CheckID, _ uid: String) {
    state.withLock { state in
      guard state.entries[uid]?.lifecycle.isInFlight(id) == true else { return }
      state.entries[uid]?.checks[id] = check
    }
  }

  private func end(_ id: PodLifecycle.CheckID, _ outcome: PodLifecycle.CheckOutcome, _ uid: String) {
    state.withLock { _ = $0.entries[uid]?.checks.removeValue(forKey: id) }
    send(.checked(id, outcome), to: uid)
  }

  /// Gives a check up.
  func cancel(_ id: PodLifecycle.CheckID, _ uid: String) {
    switch state.withLock({ $0.entries[uid]?.checks.removeValue(forKey: id) }) {
    case .process(let process): process.abandon()
    case .connection(let registration): loop.drop(registration)
    case nil: break
    }
  }
}
