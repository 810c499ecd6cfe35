package import KubernetesCore

extension APIBudget {
  /// Everything that is wrong with this budget or deserves a thought; without errors it can be resolved.
  package func validate() -> [FieldIssue] {
    var validator = Validator()
    validator.add(decodingIssues)
    _ = validator.check(spec.provider, at: "spec.provider")
    for (index, model) in (spec.models ?? []).enumerated() { validator.checkModel(model, at: "spec.models[\(index)]") }
    for (name, limit) in [
      ("requestsPerMinute", spec.limits?.requestsPerMinute),
      ("inputTokensPerMinute", spec.limits?.inputTokensPerMinute),
      ("outputTokensPerMinute", spec.limits?.outputTokensPerMinute),
    ] { validator.checkPositive(limit, at: "spec.limits.\(name)") }
    if let target = spec.target { validator.checkPercentBand(target, at: "spec.target") }
    validator.check(spec.burst?.seconds, in: 1...60, at: "spec.burst.seconds", unit: "seconds")
    validator.check(spec.reserve, in: 0...90, at: "spec.reserve", unit: "percent")
    validator.checkShares(spec.shares ?? [])
    validator.checkPositive(spec.spend?.hourlyUSD, at: "spec.spend.hourlyUSD")
    validator.checkPositive(spec.spend?.dailyUSD, at: "spec.spend.dailyUSD")
    validator.checkPrices(spec.spend?.prices ?? [])
    if let hourly = spec.spend?.hourlyUSD, let daily = spec.spend?.dailyUSD, hourly > daily {
      validator.advise(
        "spec.spend.hourlyUSD", value: "\(hourly)", "it is above dailyUSD, so it never binds",
        fix: "write less than \(daily), or remove it")
    }
    return validator.issues.withoutEchoes(of: decodingIssues)
  }

  /// This budget with defaults filled in; throws when `validate()` finds an error.
  package func resolved() throws(InvalidSpecError) -> ResolvedBudget {
    let issues = validate()
    guard issues.errors.isEmpty else { throw InvalidSpecError(issues: issues) }
    return ResolvedBudget(
      provider: spec.provider?.known ?? .anthropic, models: spec.models ?? [],
      requestsPerMinute: spec.limits?.requestsPerMinute, inputTokensPerMinute: spec.limits?.inputTokensPerMinute,
      outputTokensPerMinute: spec.limits?.outputTokensPerMinute,
      target: spec.target.map { .init($0) } ?? .init(lower: 85, upper: 95),
      burst: .seconds(Int64(spec.burst?.seconds ?? 5)), reservePercent: spec.reserve ?? 5,
      shares: (spec.shares ?? []).map {
        .init(autoscaler: $0.autoscaler ?? "", weight: $0.weight ?? 1, priority: $0.priority?.known ?? .normal)
      },
      hourlyUSD: spec.spend?.hourlyUSD, dailyUSD: spec.spend?.dailyUSD,
      prices: (spec.spend?.prices ?? []).map {
        .init(
          model: $0.model ?? "", inputUSD: $0.inputUSD ?? .zero, outputUSD: $0.outputUSD ?? .zero,
          cacheWriteUSD: $0.cacheWriteUSD, cacheWriteHourUSD: $0.cacheWriteHourUSD, cacheReadUSD: $0.cacheReadUSD)
      })
  }
}

extension Validator {
  fileprivate mutating func checkModel(_ model: String, at path: String) {
    guard model.isEmpty || model.contains(where: \.isWhitespace) else { return }
    report(
      .invalid, path, value: model, "a model is a name without spaces, in which * stands for any text",
      fix: "write it like \"claude-sonnet-*\"")
  }

  /// The most that a million tokens may cost; ten times as much as anything ever has.
  private static var highestPrice: Quantity { Quantity(1_000) }

  fileprivate mutating func checkPrices(_ prices: [APIBudget.Price]) {
    for (index, price) in prices.enumerated() {
      let path = "spec.spend.prices[\(index)]"
      checkModel(price.model ?? "", at: "\(path).model")
      for (name, value) in [("inputUSD", price.inputUSD), ("outputUSD", price.outputUSD)] where value == nil {
        report(
          .required, "\(path).\(name)", "the price per million tokens is missing",
          fix: "write it in US dollars, such as \"3\"")
      }
      for (name, value) in [
        ("inputUSD", price.inputUSD), ("outputUSD", price.outputUSD), ("cacheWriteUSD", price.cacheWriteUSD),
        ("cacheWriteHourUSD", price.cacheWriteHourUSD), ("cacheReadUSD", price.cacheReadUSD),
      ] {
        guard let value, value < .zero || value > Self.highestPrice else { continue }
        report(
          .invalid, "\(path).\(name)", value: "\(value)", "a price is from 0 to 1000 US dollars per million tokens",
          fix: "write it per million tokens, such as \"3\"")
      }
    }
  }

  mutating func checkShares(_ shares: [APIBudget.Share]) {
    for (index, share) in shares.enumerated() {
      let path = "spec.shares[\(index)]"
      checkName(share.autoscaler, at: "\(path).autoscaler", "the name of the SwarmAutoscaler", example: "reviewers")
      check(share.weight, in: 1...1000, at: "\(path).weight")
      _ = check(share.priority, at: "\(path).priority")
      if let name = share.autoscaler, !name.isEmpty,
        let first = shares[..<index].firstIndex(where: { $0.autoscaler == name })
      {
        report(
          .duplicate, "\(path).autoscaler", value: name, "it has a share already, spec.shares[\(first)]",
          fix: "keep one of the two")
      }
    }
  }
}

/// A valid budget with every default filled in.
package struct ResolvedBudget: Hashable, Sendable, Codable {
  /// Whose API.
  package var provider: APIBudget.Provider
  /// The models of the group, with `*`; empty: all.
  package var models: [String]
  /// Requests a minute; nil: learned.
  package var requestsPerMinute: Quantity?
  /// Input tokens a minute; nil: learned.
  package var inputTokensPerMinute: Quantity?
  /// Output tokens a minute; nil: learned.
  package var outputTokensPerMinute: Quantity?
  /// The band in which the fleets together are held, in percent of the limit.
  package var target: ResolvedAutoscaler.PercentBand
  /// The depth of the buckets in time of the steady rate.
  package var burst: Duration
  /// Percent of the limit kept for interactive requests.
  package var reservePercent: Int32
  /// The fleets that are named.
  package var shares: [Share]
  /// What may be spent in any hour; nil: no limit.
  package var hourlyUSD: Quantity?
  /// What may be spent in any day; nil: no limit.
  package var dailyUSD: Quantity?
  /// What models cost, before the list prices.
  package var prices: [Price] = []

  /// What models cost, in US dollars per million tokens; nil: the usual multiple of the input's.
  package struct Price: Hashable, Sendable, Codable {
    /// The models, with `*`.
    package var model: String
    /// Uncached input.
    package var inputUSD: Quantity
    /// Output.
    package var outputUSD: Quantity
    /// Writes to the five-minute cache.
    package var cacheWriteUSD: Quantity?
    /// Writes to the one-hour cache.
    package var cacheWriteHourUSD: Quantity?
    /// Reads from the cache.
    package var cacheReadUSD: Quantity?
  }

  /// One fleet's part.
  package struct Share: Hashable, Sendable, Codable {
    /// The fleet's SwarmAutoscaler.
    package var autoscaler: String
    /// Its part in proportion to the others'.
    package var weight: Int32
    /// How urgent its requests are.
    package var priority: APIBudget.Priority
  }

  /// The part of the fleet `autoscaler`; weight 1 and Normal for one that isn't named.
  package func share(of autoscaler: String) -> Share {
    shares.first { $0.autoscaler == autoscaler } ?? Share(autoscaler: autoscaler, weight: 1, priority: .normal)
  }
}
