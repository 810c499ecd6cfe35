import KubernetesCore
import ScalingObservation
import Synchronization

extension StatusPage {
  /// Whether a path is the page's: everything but the controller's other paths could be, these are.
  package func serves(path: String) -> Bool {
    PageAssets.asset(at: path) != nil || path == "/api" || path.hasPrefix("/api/")
  }

  /// Answers a request for one of the page's paths. The page is read-only: whatever isn't GET or HEAD is refused.
  package func respond(to request: PageRequest) -> PageResponse {
    guard request.method == "GET" || request.method == "HEAD" else {
      return .error(
        405, "methodNotAllowed", "this page only reads; \(request.method) is not possible", [("Allow", "GET, HEAD")])
    }
    var response = answer(request)
    if request.method == "HEAD", case .bytes(let bytes) = response.body { response.body = .none(length: bytes.count) }
    return response
  }

  private func answer(_ request: PageRequest) -> PageResponse {
    if let asset = PageAssets.asset(at: request.path) { return answer(request, asset) }
    let segments = request.segments ?? []
    switch (segments.first, segments.dropFirst().first, segments.count) {
    case ("api", "v1", 3) where segments[2] == "fleets": return .json(snapshot())
    case ("api", "v1", 5) where segments[2] == "fleets":
      return fleet(ObjectKey(namespace: segments[3], name: segments[4]))
    case ("api", "v1", 3) where segments[2] == "events":
      // HEAD asks for headers; it mustn't take one of the places.
      return request.method == "HEAD"
        ? PageResponse(
          200, [("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-store")], .none(length: nil)
        )
        : subscribe(request)
    case ("api", "v1", 4) where segments[2] == "decisions": return decision(segments[3])
    default:
      return .error(404, "notFound", "there is no such path; docs/page.md lists them")
    }
  }

  private func answer(_ request: PageRequest, _ asset: PageAssets.Asset) -> PageResponse {
    let tag = "\"\(asset.tag)\""
    // Asked for each time, answered with 304 when nothing has changed: a new version shows at once.
    let headers = [("ETag", tag), ("Cache-Control", "no-cache"), ("Content-Type", asset.type)]
    let known = (request.ifNoneMatch ?? "").split(separator: ",").map { $0.drop { $0 == " " } }
    if known.contains(where: { $0 == tag || $0 == "W/\(tag)" || $0 == "*" }) {
      let length = asset.text.utf8CodeUnitCount
      return PageResponse(304, headers.prefix(2).map { (name: $0.0, value: $0.1) }, .none(length: length))
    }
    return PageResponse(200, headers.map { (name: $0.0, value: $0.1) }, .bytes(asset.bytes))
  }

  // MARK: Reading

  private func snapshot() -> JSONText {
    let leadership = state.withLock { $0.sources }.leadership()
    let now = time.wallNow
    return state.withLock { state in
      // Nobody follows: nobody misses what is marked as told here, and the first to come gets no news that it has read.
      if state.clients.isEmpty {
        Self.markPublished(&state, leadership)
        state.events.clear(skipping: true)
      }
      let epoch = state.events.epoch
      var json = JSONText()
      json.object { json in
        json.member("cursor", state.events.cursor)
        json.member("nowMilliseconds", now.milliseconds)
        json.member("program", configuration.program)
        json.member("instance", configuration.instance)
        json.write(leadership)
        json.member("coordinator", state.sources.hasCoordinator)
        json.member("truncated", state.model.isTruncated)
        json.member(
          "fleets", array: { json in for fleet in state.model.fleets { fleet.write(to: &json) { "\(epoch)-\($0)" } } })
        json.member(
          "budgets",
          array: { json in for budget in state.model.budgets { budget.write(to: &json, withPoints: false) } })
        json.member("decisions", array: { json in json.write(state.model.decisions.newest(100), epoch) })
      }
      return json
    }
  }

  private func fleet(_ key: ObjectKey) -> PageResponse {
    let sources = state.withLock { $0.sources }
    let (activity, reason) = (sources.activity(key), sources.reason(key))
    let now = time.wallNow
    let json = state.withLock { state -> JSONText? in
      guard let fleet = state.model.fleet(key) else { return nil }
      let epoch = state.events.epoch
      let entries = state.model.decisions.newest(100, of: key)
      var json = JSONText()
      json.object { json in
        json.member("nowMilliseconds", now.milliseconds)
        json.name("fleet")
        fleet.write(to: &json) { "\(epoch)-\($0)" }
        json.member("words", state.model.decisions.entry(fleet.decision)?.words ?? reason)
        json.name("points")
        fleet.writePoints(to: &json)
        json.name("workers")
        json.write(activity, count: configuration.workers)
        json.member(
          "budgets",
          array: { json in
            for budget in state.model.budgets(inNamespace: key.namespace) { budget.write(to: &json, withPoints: true) }
          })
        json.member("decisions", array: { json in json.write(entries, epoch) })
      }
      return json
    }
    return json.map { .json($0) } ?? .error(404, "notFound", "no autoscaler \(key) is known here")
  }

  private func decision(_ id: String) -> PageResponse {
    let parts = id.split(separator: "-", omittingEmptySubsequences: false)
    let (entry, epoch) = state.withLock { state -> (DecisionEntry?, String) in
      let epoch = state.events.epoch
      guard parts.count == 2, parts[0] == epoch, let number = UInt64(parts[1]) else { return (nil, epoch) }
      return (state.model.decisions.entry(number), epoch)
    }
    guard let entry else {
      return .error(
        404, "notFound",
        "this decision isn't kept any more: the page remembers the latest ones of this run; --decision-log keeps all")
    }
    var json = JSONText()
    entry.writeFull(to: &json) { "\(epoch)-\($0)" }
    return .json(json)
  }
}
