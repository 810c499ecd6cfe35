#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The endpoints below `/admin`: the oracle and changes while running. They need no key; the server listens on loopback.
extension MockClaudeAPI {
  mutating func administer(_ request: APIRequest) -> APIReply {
    do {
      return try administration(request)
    } catch let error as APIError {
      return adminReply(error.status, #"{"error":\#(JSONValue.literal(error.message))}"#)
    } catch {
      return adminReply(400, #"{"error":\#(JSONValue.literal(Self.explain(error)))}"#)
    }
  }

  private func adminReply(_ status: Int, _ body: String) -> APIReply {
    .complete(HTTPReply(status: status, headers: [Self.json], body: body))
  }

  private mutating func administration(_ request: APIRequest) throws -> APIReply {
    switch (request.method, request.path) {
    case ("GET", "/admin/oracle"):
      let seconds = request.query("seconds").flatMap { Int($0) } ?? 120
      return adminReply(200, try Self.encode(engine.report(at: engine.now, seconds: seconds)))
    case ("GET", "/admin/requests"):
      let after = request.query("after").flatMap { Int($0) } ?? 0
      let limit = request.query("limit").flatMap { Int($0) } ?? 1000
      return adminReply(200, try Self.encode(engine.charges(after: after, limit: limit, at: engine.now)))
    case ("POST", "/admin/limits"):
      let change: LimitsBody = try decode(request)
      if let tier = change.tier { engine.setTier(tier, at: engine.now) }
      for limit in change.limits { engine.setLimits(limit, at: engine.now) }
    case ("POST", "/admin/faults"):
      let body: FaultsBody = try decode(request)
      engine.setFaults(body.rules, at: engine.now)
    case ("POST", "/admin/foreign"):
      engine.setForeignLoad(try decode(request), at: engine.now)
    case ("POST", "/admin/settings"):
      let body: SettingsBody = try decode(request)
      engine.changeSettings(body.apply)
    case ("POST", "/admin/clock"):
      let change: ClockChange = try decode(request)
      engine.changeSettings { configuration in
        configuration.clock.speed = change.speed ?? configuration.clock.speed
        configuration.clock.dateSkewSeconds = change.dateSkewSeconds ?? configuration.clock.dateSkewSeconds
        configuration.clock.resetSkewSeconds = change.resetSkewSeconds ?? configuration.clock.resetSkewSeconds
      }
      return .clock(change)
    case ("POST", "/admin/reset"):
      engine = MockClaudeEngine(configuration: engine.configuration, start: engine.now)
    default:
      throw APIError.notFound(
        "known are GET /admin/oracle, GET /admin/requests and POST /admin/limits, faults, foreign, settings, clock, reset"
      )
    }
    return adminReply(200, #"{"ok":true}"#)
  }

  // MARK: Bodies

  private struct LimitsBody: Decodable {
    var tier: Tier?
    var limits: [LimitChange]

    private enum CodingKeys: String, CodingKey { case tier, limits }

    init(from decoder: any Decoder) throws {
      let values = try decoder.container(keyedBy: CodingKeys.self)
      tier = try values.decodeIfPresent(Tier.self, forKey: .tier)
      if let list = try values.decodeIfPresent([LimitChange].self, forKey: .limits) {
        limits = list
      } else {
        limits = tier == nil ? [try LimitChange(from: decoder)] : []
      }
    }
  }

  private struct FaultsBody: Decodable {
    var rules: [FaultRule]
  }

  private struct SettingsBody: Decodable {
    var pace: Pace?
    var stream: StreamStyle?
    var headers: HeaderSwitches?
    var ramp: RampLimit??
    var spend: SpendLimits?
    var cutsStreamsWhenEmpty: Bool?
    var inputEstimateErrorPercent: Int?

    private enum CodingKeys: String, CodingKey, CaseIterable {
      case pace, stream, headers, ramp, spend, cutsStreamsWhenEmpty, inputEstimateErrorPercent
    }

    init(from decoder: any Decoder) throws {
      try decoder.refuseUnknownKeys(besides: CodingKeys.self)
      let values = try decoder.container(keyedBy: CodingKeys.self)
      pace = try values.decodeIfPresent(Pace.self, forKey: .pace)
      stream = try values.decodeIfPresent(StreamStyle.self, forKey: .stream)
      headers = try values.decodeIfPresent(HeaderSwitches.self, forKey: .headers)
      // Null takes the limit away; absent leaves it.
      if values.contains(.ramp) { ramp = .some(try values.decodeIfPresent(RampLimit.self, forKey: .ramp)) }
      spend = try values.decodeIfPresent(SpendLimits.self, forKey: .spend)
      cutsStreamsWhenEmpty = try values.decodeIfPresent(Bool.self, forKey: .cutsStreamsWhenEmpty)
      inputEstimateErrorPercent = try values.decodeIfPresent(Int.self, forKey: .inputEstimateErrorPercent)
    }

    func apply(_ configuration: inout MockConfiguration) {
      configuration.pace = pace ?? configuration.pace
      configuration.stream = stream ?? configuration.stream
      configuration.headers = headers ?? configuration.headers
      configuration.ramp = ramp ?? configuration.ramp
      configuration.spend = spend ?? configuration.spend
      configuration.cutsStreamsWhenEmpty = cutsStreamsWhenEmpty ?? configuration.cutsStreamsWhenEmpty
      configuration.inputEstimateErrorPercent = inputEstimateErrorPercent ?? configuration.inputEstimateErrorPercent
    }
  }

  private func decode<Body: Decodable>(_ request: APIRequest) throws -> Body {
    guard case .bytes(let bytes) = request.body else { throw APIError.invalid("the body can't be read") }
    return try JSONDecoder().decode(Body.self, from: Data(bytes.isEmpty ? Array("{}".utf8) : bytes))
  }

  private static func encode(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  /// What is wrong with a body, in words.
  private static func explain(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    let (context, what): (DecodingError.Context, String) =
      switch error {
      case .dataCorrupted(let context): (context, context.debugDescription)
      case .keyNotFound(let key, let context): (context, "\(key.stringValue) is missing")
      case .typeMismatch(_, let context), .valueNotFound(_, let context): (context, context.debugDescription)
      @unknown default: (.init(codingPath: [], debugDescription: ""), "\(error)")
      }
    let path = context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    return path.isEmpty ? what : "\(path): \(what)"
  }
}
