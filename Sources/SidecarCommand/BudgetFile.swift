import RateBudget
package import SwarmCoordination
import YAML

/// A file of `APIBudget` objects, as they are applied to a cluster: what one machine needs of them.
package struct BudgetFile: Sendable {
  /// What is wrong with a file, and where.
  package struct Invalid: Error, Hashable, Sendable, CustomStringConvertible {
    /// The object and field, such as `APIBudget claude: spec.burst.seconds`.
    package var place: String
    /// What to do.
    package var problem: String

    package var description: String { "\(place): \(problem)" }
  }

  /// The budgets, in the order of the file; other objects are left out.
  package var plan: BudgetPlan

  /// Reads the objects of a file.
  ///
  /// - Throws: `Invalid`.
  package init(yaml text: String) throws {
    let documents: [YAMLNode]
    do throws(YAMLError) {
      documents = try YAMLParser.documents(of: text)
    } catch {
      throw Invalid(place: "line \(error.line)", problem: "the YAML can't be read: \(error.problem)")
    }
    var entries: [BudgetPlan.Entry] = []
    for document in documents where document["kind"]?.text == "APIBudget" {
      let entry = try Self.entry(document)
      guard !entries.contains(where: { $0.name == entry.name }) else {
        throw Invalid(place: "APIBudget \(entry.name)", problem: "stands twice; give each budget its own name")
      }
      entries.append(entry)
    }
    guard !entries.isEmpty else {
      throw Invalid(place: "file", problem: "there is no object of kind APIBudget; see examples/sidecar-budget.yaml")
    }
    plan = BudgetPlan(entries)
  }

  private static func entry(_ document: YAMLNode) throws(Invalid) -> BudgetPlan.Entry {
    guard let name = document["metadata"]?["name"]?.text, !name.isEmpty else {
      throw Invalid(place: "APIBudget", problem: "metadata.name is missing")
    }
    guard let spec = document["spec"], spec.members != nil else {
      throw Invalid(place: "APIBudget \(name)", problem: "spec is missing; it may be empty: spec: {}")
    }
    let fields = BudgetFields(node: spec, place: "APIBudget \(name): spec")
    let known: Set<String> = ["provider", "models", "limits", "target", "burst", "reserve", "shares", "spend"]
    try fields.refuseUnknown(besides: known)
    let provider = try fields.text("provider") ?? "Anthropic"
    guard provider == "Anthropic" else {
      throw Invalid(place: "APIBudget \(name): spec.provider", problem: "\(provider) isn't known; use Anthropic")
    }
    return BudgetPlan.Entry(
      name: name, models: try fields.texts("models").map { ModelPattern($0) }, configuration: try configuration(fields))
  }

  private static func configuration(_ spec: BudgetFields) throws(Invalid) -> BudgetConfiguration {
    let limits = try spec.object("limits")
    try limits?.refuseUnknown(besides: ["requestsPerMinute", "inputTokensPerMinute", "outputTokensPerMinute"])
    let target = try spec.object("target")
    try target?.refuseUnknown(besides: ["lower", "upper"])
    let upper = try target?.integer("upper", in: 1...100) ?? 95
    let lower = try target?.integer("lower", in: 1...100) ?? min(85, upper - 1)
    guard lower < upper else {
      throw Invalid(place: spec.place + ".target", problem: "lower (\(lower)) must be below upper (\(upper))")
    }
    let burst = try spec.object("burst")
    try burst?.refuseUnknown(besides: ["seconds"])
    let spend = try spec.object("spend")
    try spend?.refuseUnknown(besides: ["hourlyUSD", "dailyUSD", "prices"])
    return BudgetConfiguration(
      limits: PerDimension(
        requests: try limits?.amount("requestsPerMinute"), inputTokens: try limits?.amount("inputTokensPerMinute"),
        inputTokensTotal: nil, outputTokens: try limits?.amount("outputTokensPerMinute")),
      targetPercent: upper, outputTargetPercent: min(upper, 90),
      burst: .seconds(try burst?.integer("seconds", in: 1...60) ?? 5),
      reservePercent: try spec.integer("reserve", in: 0...90) ?? 5, fleets: try shares(spec),
      prices: PriceList((try spend.map(prices) ?? []) + PriceList.published.entries),
      spend: SpendLimits(
        perHour: try spend?.amount("hourlyUSD", scale: 1_000_000),
        perDay: try spend?.amount("dailyUSD", scale: 1_000_000)))
  }

  private static func prices(_ spend: BudgetFields) throws(Invalid) -> [PriceList.Entry] {
    var entries: [PriceList.Entry] = []
    for price in try spend.objects("prices") {
      try price.refuseUnknown(
        besides: ["model", "inputUSD", "outputUSD", "cacheWriteUSD", "cacheWriteHourUSD", "cacheReadUSD"])
      guard let model = try price.text("model"), !model.isEmpty else {
        throw Invalid(place: price.place + ".model", problem: "the model is missing; write it like claude-sonnet-*")
      }
      guard let input = try price.price("inputUSD"), let output = try price.price("outputUSD") else {
        throw Invalid(
          place: price.place, problem: "inputUSD and outputUSD are needed, in US dollars per million tokens")
      }
      entries.append(
        PriceList.Entry(
          pattern: model,
          prices: ModelPrices(
            input: input, output: output, cacheWrite: try price.price("cacheWriteUSD"),
            cacheWriteHour: try price.price("cacheWriteHourUSD"), cacheRead: try price.price("cacheReadUSD"))))
    }
    return entries
  }

  private static func shares(_ spec: BudgetFields) throws(Invalid) -> [String: BudgetConfiguration.FleetShare] {
    var shares: [String: BudgetConfiguration.FleetShare] = [:]
    for share in try spec.objects("shares") {
      try share.refuseUnknown(besides: ["autoscaler", "weight", "priority"])
      guard let name = try share.text("autoscaler"), !name.isEmpty else {
        throw Invalid(place: share.place + ".autoscaler", problem: "the name of a fleet is missing")
      }
      let word = try share.text("priority") ?? "Normal"
      let priorities: [String: Priority] = ["Interactive": .interactive, "Normal": .normal, "Bulk": .low]
      guard let priority = priorities[word] else {
        throw Invalid(
          place: share.place + ".priority", problem: "\(word) isn't known; use Interactive, Normal or Bulk")
      }
      shares[name] = .init(weight: try share.integer("weight", in: 1...1_000) ?? 1, priority: priority)
    }
    return shares
  }
}
