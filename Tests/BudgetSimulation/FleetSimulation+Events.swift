import RateBudget

extension FleetSimulation {
  mutating func handle(_ event: Event) {
    let now = event.time
    switch event.kind {
    case .wake: break
    case .podWake:
      grantAlone(event.index, now: now)
      grantSplit(event.index, now: now)
    case .shares: tellShares(now: now)
    case .fault: happen(settings.faults[event.index].fault, now: now)
    case .reconnect: reconnect(event.index, now: now)
    case .wish, .begin, .progress, .end:
      guard agents[event.index].number == event.number else { return }
      if event.kind == .wish { wish(event.index, now: now) } else { stream(event.kind, agent: event.index, now: now) }
    }
  }

  private func features(_ agent: Int) -> InputEstimator.Features {
    InputEstimator.Features(model: "claude-sonnet-5", kind: "agent", bodyBytes: agents[agent].bodyBytes)
  }

  private mutating func wish(_ agent: Int, now: Double) {
    agents[agent].number += 1
    agents[agent].input = skewed(mean: settings.meanInput, maximum: 150_000)
    agents[agent].output = skewed(mean: settings.meanOutput, maximum: 20_000)
    if let error = settings.sizeError {
      // 2.7 bytes in a token.
      agents[agent].bodyBytes = Int64(agents[agent].input * 2.7 * (1 - error + 2 * error * unit())) + 1
    }
    let pod = agents[agent].pod
    let id = GrantID(client: names[pod], number: UInt64(agent) << 32 | agents[agent].number)
    agents[agent].id = id
    owners[id] = agent
    let wish = GrantRequest(
      id: id, fleet: fleet(of: pod),
      estimate: estimator.estimate(
        features(agent), inFlight: settings.isSplit ? split[pod].outstandingCount : budget.outstandingCount),
      deadline: at(now + 1_000), model: "claude-sonnet-5", kind: "agent")
    agents[agent].wish = wish
    agents[agent].wished = now
    submit(wish, pod: pod, now: now)
  }

  private func isAlone(_ pod: Int) -> Bool { !locals.isEmpty && locals[pod].isAlone }

  private mutating func submit(_ wish: GrantRequest, pod: Int, now: Double) {
    if settings.isSplit {
      _ = split[pod].submit(wish, now: at(now))
      grantSplit(pod, now: now)
    } else if isAlone(pod) {
      _ = locals[pod].budget.submit(wish, now: at(now))
      grantAlone(pod, now: now)
    } else {
      _ = budget.submit(wish, now: at(now))
    }
  }

  private mutating func grantAlone(_ pod: Int, now: Double) {
    guard isAlone(pod) else { return }
    for outcome in locals[pod].advance(now: at(now)) {
      if case .granted(let grant) = outcome, let agent = owners[grant.id] { send(agent, now: now) }
    }
    if locals[pod].budget.waitingCount > 0, let deadline = locals[pod].budget.nextDeadline(now: at(now)) {
      schedule(.podWake, at: max(Double(deadline.nanoseconds) / 1e9, now + 0.25), index: pod)
    }
  }

  private mutating func grantSplit(_ pod: Int, now: Double) {
    guard settings.isSplit else { return }
    for outcome in split[pod].advance(now: at(now)) {
      if case .granted(let grant) = outcome, let agent = owners[grant.id] { send(agent, now: now) }
    }
    if split[pod].waitingCount > 0, let deadline = split[pod].nextDeadline(now: at(now)) {
      schedule(.podWake, at: max(Double(deadline.nanoseconds) / 1e9, now + 0.25), index: pod)
    }
  }

  private mutating func settle(_ agent: Int, usage: Usage, isFinal: Bool, now: Double) {
    let id = agents[agent].id
    if settings.isSplit {
      split[agents[agent].pod].settle(id, usage: usage, isFinal: isFinal, now: at(now))
      return grantSplit(agents[agent].pod, now: now)
    }
    budget.settle(id, usage: usage, isFinal: isFinal, now: at(now))
    if !locals.isEmpty { locals[agents[agent].pod].budget.settle(id, usage: usage, isFinal: isFinal, now: at(now)) }
  }

  private mutating func stream(_ kind: Kind, agent: Int, now: Double) {
    let number = agents[agent].number
    let input = Int64(agents[agent].input)
    switch kind {
    case .begin:
      upstream.begin(actual: agents[agent].input, estimate: agents[agent].upstreamEstimate, speed: settings.speed)
      agents[agent].began = now
      agents[agent].isStreaming = true
      settle(agent, usage: Usage(input: input, output: 1), isFinal: false, now: now)
      let end = now + agents[agent].output / settings.speed
      schedule(.end, at: end, index: agent, number: number)
      if now + 3 < end { schedule(.progress, at: now + 3, index: agent, number: number) }
    case .progress:
      let produced = (now - agents[agent].began) * settings.speed
      settle(agent, usage: Usage(output: Int64(produced)), isFinal: false, now: now)
      guard produced + settings.speed * 3 < agents[agent].output else { return }
      schedule(.progress, at: now + 3, index: agent, number: number)
    default:
      upstream.end(speed: settings.speed)
      agents[agent].isStreaming = false
      let usage = Usage(input: input, output: Int64(agents[agent].output))
      settle(agent, usage: usage, isFinal: true, now: now)
      estimator.learn(features(agent), usage: usage)
      perFleet[agents[agent].pod % settings.fleets] += agents[agent].input + agents[agent].output
      owners[agents[agent].id] = nil
      if now >= settings.warmUp { worked += now - agents[agent].began + settings.firstToken }
      if let period = settings.burstPeriod {
        schedule(.wish, at: ((now / period).rounded(.down) + 1) * period, index: agent, number: number)
      } else {
        let thought = settings.think * 2 * unit()
        if now >= settings.warmUp { worked += thought }
        schedule(.wish, at: now + thought, index: agent, number: number)
      }
    }
  }

  mutating func send(_ agent: Int, now: Double) {
    agents[agent].upstreamEstimate = (agents[agent].input * (0.8 + 0.4 * unit())).rounded()
    let isAdmitted = upstream.admit(estimate: agents[agent].upstreamEstimate)
    let headers = upstream.headers(now: now, skew: settings.skew)
    let pod = agents[agent].pod
    let id = agents[agent].id
    if isAdmitted {
      if now >= settings.warmUp { waited += now - agents[agent].wished }
      if isCoordinated, !settings.isSplit { budget.observe(headers, now: at(now)) }
      schedule(.begin, at: now + settings.firstToken, index: agent, number: agents[agent].number)
      return
    }
    let verdict = UpstreamVerdict.rateLimited(retryAfter: .seconds(1))
    if settings.isSplit {
      _ = split[pod].reject(id, verdict: verdict, headers: headers, now: at(now), using: &generator)
      schedule(.podWake, at: now + 1, index: pod)
    } else if isAlone(pod) {
      _ = locals[pod].budget.reject(id, verdict: verdict, headers: headers, now: at(now), using: &generator)
    } else {
      if !locals.isEmpty { locals[pod].budget.release(id, now: at(now)) }
      _ = budget.reject(id, verdict: verdict, headers: headers, now: at(now), using: &generator)
    }
  }

  // MARK: Faults

  private mutating func happen(_ fault: Fault, now: Double) {
    switch fault {
    case .limits(let factor): upstream.scaleLimits(by: factor)
    case .foreign(let part): upstream.setForeign(part)
    case .killPod: kill(Int(generator.next() % UInt64(settings.pods)), now: now)
    case .loseCoordinator:
      isCoordinated = false
      for pod in locals.indices { locals[pod].lose(now: at(now)) }
      for agent in agents.indices {
        guard let wish = agents[agent].wish, budget.cancel(wish.id, now: at(now)) else { continue }
        submit(wish, pod: agents[agent].pod, now: now)
      }
    case .newCoordinator:
      isCoordinated = true
      wakeAt = .infinity
      budget = GroupBudget(configuration: configuration, now: at(now))
      budget.startLearning(now: at(now))
      for pod in locals.indices { schedule(.reconnect, at: now + 2 * unit(), index: pod) }
    }
  }

  private mutating func reconnect(_ pod: Int, now: Double) {
    let hello = locals[pod].connect(now: at(now))
    budget.connect(
      client: names[pod], fleet: fleet(of: pod), share: hello.share, outstanding: hello.outstanding, now: at(now))
    for id in hello.waiting {
      if let agent = owners[id], let wish = agents[agent].wish { _ = budget.submit(wish, now: at(now)) }
    }
  }

  private mutating func tellShares(now: Double) {
    schedule(.shares, at: now + 5)
    guard isCoordinated else { return }
    let places = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($0.element, $0.offset) })
    for notice in budget.shares(now: at(now)) {
      budget.noteTold(notice)
      if let pod = places[notice.client] { locals[pod].tell(notice.share, now: at(now)) }
    }
  }

  /// The streams of the pod are cut; nobody settles them.
  private mutating func kill(_ pod: Int, now: Double) {
    budget.disconnect(client: names[pod], now: at(now))
    budget.remove(client: names[pod], now: at(now))
    names[pod] += "'"
    budget.connect(client: names[pod], fleet: fleet(of: pod), now: at(now))
    for agent in agents.indices where agents[agent].pod == pod {
      if agents[agent].isStreaming { upstream.end(speed: settings.speed) }
      agents[agent].isStreaming = false
      agents[agent].number += 1
      owners[agents[agent].id] = nil
      schedule(.wish, at: now + 2, index: agent, number: agents[agent].number)
    }
  }
}
