import KubernetesCore
import ScalingObservation
import Synchronization

extension StatusPage {
  /// Makes the news since the last time into events and hands them to the clients.
  func publish() {
    let now = time.monotonicNow
    let (sources, watched) = state.withLock { state in
      (state.sources, Set(state.clients.compactMap(\.fleet)))
    }
    // Asked without the lock: these answer under locks of their own.
    let leadership = sources.leadership()
    var activities: [ObjectKey: FleetActivityReport] = [:]
    for key in watched.sorted() { activities[key] = sources.activity(key) }
    let lost = state.withLock { state -> [Client] in
      let news = Self.news(&state, leadership, configuration)
      var details: [ObjectKey: [UInt8]] = [:]
      for key in watched { details[key] = detail(of: key, state.model, activities[key]) }
      var lost: [UInt64] = []
      for index in state.clients.indices {
        var chunk = news
        if let key = state.clients[index].fleet, let detail = details[key], detail != state.clients[index].lastDetail {
          state.clients[index].lastDetail = detail
          chunk += ServerSentEvent.text("detail", detail)
        }
        if chunk.isEmpty, now - state.clients[index].lastSent >= configuration.beat {
          chunk = ServerSentEvent.text("beat", Array("{}".utf8))
        }
        guard !chunk.isEmpty else { continue }
        state.clients[index].lastSent = now
        if case .enqueued = state.clients[index].continuation.yield(chunk) { continue }
        lost.append(state.clients[index].id)
      }
      defer { state.clients.removeAll { lost.contains($0.id) } }
      return state.clients.filter { lost.contains($0.id) }
    }
    for client in lost {
      // It didn't take what it was sent. It may come back and go on where it was.
      client.continuation.finish()
      client.cut()
    }
  }

  /// The events that all clients get; empty: nothing is new.
  private static func news(
    _ state: inout State, _ leadership: Leadership, _ configuration: Configuration
  ) -> [UInt8] {
    let model = state.model
    if model.forgottenRevision > state.publishedRevision {
      markPublished(&state, leadership)
      state.events.clear(skipping: true)
      return state.events.append("reset", Array("{}".utf8))
    }
    var changed = model.fleets.filter { $0.revision > state.publishedRevision }
    var until = model.revision
    if changed.count > configuration.fleetsPerEvent {
      let cutoff = changed.map(\.revision).sorted()[configuration.fleetsPerEvent - 1]
      changed.removeAll { $0.revision > cutoff }
      until = cutoff
    }
    let gone = model.gone.filter { $0.revision > state.publishedRevision && $0.revision <= until }
    let fresh = model.decisions.lastNumber - min(state.publishedDecision, model.decisions.lastNumber)
    let decisions = model.decisions.newest(Int(clamping: min(fresh, 50)))
    let leads = leadership != state.publishedLeadership
    guard !changed.isEmpty || !gone.isEmpty || fresh > 0 || leads else {
      state.publishedRevision = until
      return []
    }
    let epoch = state.events.epoch
    var json = JSONText()
    json.object { json in
      if leads { json.write(leadership) }
      json.member(
        "fleets", array: { json in for fleet in changed { fleet.write(to: &json) { "\(epoch)-\($0)" } } })
      json.member(
        "gone",
        array: { json in
          for entry in gone {
            json.array { json in
              json.string(entry.key.namespace)
              json.string(entry.key.name)
            }
          }
        })
      json.member("decisions", array: { json in json.write(fresh == 0 ? [] : decisions, epoch) })
    }
    state.publishedRevision = until
    state.publishedDecision = model.decisions.lastNumber
    state.publishedLeadership = leadership
    return state.events.append("update", json.bytes)
  }

  /// Notes that everything up to now is known to those who have just read it.
  static func markPublished(_ state: inout State, _ leadership: Leadership) {
    state.publishedRevision = state.model.revision
    state.publishedDecision = state.model.decisions.lastNumber
    state.publishedLeadership = leadership
  }

  /// What follows one fleet: its workers and the budgets of its namespace.
  private func detail(of key: ObjectKey, _ model: PageModel, _ activity: FleetActivityReport?) -> [UInt8] {
    var json = JSONText()
    json.object { json in
      json.member("namespace", key.namespace)
      json.member("name", key.name)
      json.name("workers")
      json.write(activity, count: configuration.workers)
      json.member(
        "budgets",
        array: { json in
          for budget in model.budgets(inNamespace: key.namespace) { budget.write(to: &json, withPoints: false) }
        })
    }
    return json.bytes
  }

  // MARK: Clients

  /// Takes in a client that wants events.
  func subscribe(_ request: PageRequest) -> PageResponse {
    let now = time.monotonicNow
    let (stream, continuation) = AsyncStream<[UInt8]>.makeStream(
      bufferingPolicy: .bufferingOldest(configuration.clientBuffer))
    let fleet = request.parameter("fleet").flatMap(ObjectKey.init(pageText:))
    // The header is that of a browser that comes back by itself, and knows more than the address that it began with.
    let cursor = request.lastEventID ?? request.parameter("after")
    let id = state.withLock { state -> UInt64? in
      guard state.clients.count < configuration.maximumClients, !state.isClosed else { return nil }
      var first = Array("retry: 2000\n\n".utf8)
      switch cursor.map({ state.events.resume(after: $0) }) ?? .reset {
      case .events(let missed): for event in missed { first += event }
      case .reset: first += ServerSentEvent.text("reset", Array("{}".utf8), id: state.events.cursor)
      }
      continuation.yield(first)
      state.lastClient += 1
      state.emptySince = nil
      state.clients.append(
        Client(id: state.lastClient, fleet: fleet, continuation: continuation, cut: request.cut, lastSent: now))
      return state.lastClient
    }
    guard let id else {
      return .error(
        503, "tooManyClients", "\(configuration.maximumClients) pages are open already; this one tries again",
        [("Retry-After", "10")])
    }
    wakeup.yield()
    return PageResponse(
      200,
      [
        ("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
      ], .events(PageEvents(id: id, stream: stream)))
  }
}

extension ObjectKey {
  /// Reads `namespace/name`; nil when it isn't that.
  init?(pageText: String) {
    let parts = pageText.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else { return nil }
    self.init(namespace: String(parts[0]), name: String(parts[1]))
  }
}

extension JSONText {
  /// Writes who leads, as a member.
  mutating func write(_ leadership: StatusPage.Leadership) {
    member(
      "leadership",
      object: { json in
        json.member("isLeader", leadership.isLeader)
        json.member("holder", leadership.holder)
      })
  }

  /// Writes entries of the list of decisions.
  mutating func write(_ entries: [DecisionEntry], _ epoch: String) {
    for entry in entries { object { json in entry.writeMembers(to: &json) { "\(epoch)-\($0)" } } }
  }
}
