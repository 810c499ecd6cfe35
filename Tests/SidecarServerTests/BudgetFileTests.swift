import RateBudget
import SidecarCommand
import SwarmCoordination
import Testing

@Suite struct BudgetFileTests {
  private static let full = """
    apiVersion: swarmscale.dev/v1alpha1
    kind: APIBudget
    metadata: {name: claude-sonnet}
    spec:
      provider: Anthropic
      models: ["claude-sonnet-*"]
      limits: {requestsPerMinute: 4000, inputTokensPerMinute: 2M, outputTokensPerMinute: 400k}
      target: {lower: 80, upper: 92}
      burst: {seconds: 7}
      reserve: 10
      shares:
      - {autoscaler: reviewers, weight: 3, priority: Interactive}
      spend: {dailyUSD: "12.50", prices: [{model: claude-sonnet-*, inputUSD: "2.50", outputUSD: 10}]}
    ---
    kind: SwarmAutoscaler
    metadata: {name: reviewers}
    """

  @Test("An APIBudget means on one machine what it means in a cluster")
  func full() throws {
    let plan = try BudgetFile(yaml: Self.full).plan
    #expect(plan.entries.map(\.name) == ["claude-sonnet"])
    let configuration = plan.configuration(of: plan.group(model: "claude-sonnet-4-5"))
    #expect(configuration.limits.requests == 4_000)
    #expect(configuration.limits.inputTokens == 2_000_000)
    #expect(configuration.limits.outputTokens == 400_000)
    #expect(configuration.targetPercent == 92 && configuration.outputTargetPercent == 90)
    #expect(configuration.burst == .seconds(7) && configuration.reservePercent == 10)
    #expect(configuration.fleets["reviewers"] == .init(weight: 3, priority: .interactive))
    #expect(configuration.spend == SpendLimits(perDay: 12_500_000))
    #expect(
      configuration.prices.prices(of: "claude-sonnet-4-5") == ModelPrices(input: 2_500_000, output: 10_000_000))
  }

  @Test("A model that no budget names has its own; one that couldn't be read draws on the first")
  func groups() throws {
    let plan = try BudgetFile(yaml: Self.full).plan
    #expect(plan.group(model: "claude-opus-5").modelGroup == "claude-opus-5")
    #expect(plan.group(model: "").modelGroup == "claude-sonnet")
    #expect(plan.group(model: "claude-sonnet-5", speed: "fast").speed == "fast")
  }

  @Test(
    "What can't be meant is refused, with its place",
    arguments: [
      ("kind: APIBudget\nmetadata: {name: a}\nspec: {limit: {}}", "APIBudget a: spec.limit: this field isn't known"),
      ("kind: APIBudget\nspec: {}", "metadata.name is missing"),
      ("kind: APIBudget\nmetadata: {name: a}", "spec is missing"),
      ("kind: APIBudget\nmetadata: {name: a}\nspec: {burst: {seconds: 61}}", "spec.burst.seconds: 61"),
      ("kind: APIBudget\nmetadata: {name: a}\nspec: {target: {lower: 95, upper: 90}}", "lower (95) must be below"),
      ("kind: APIBudget\nmetadata: {name: a}\nspec: {limits: {requestsPerMinute: -5}}", "requestsPerMinute: -5"),
      ("kind: APIBudget\nmetadata: {name: a}\nspec: {shares: [{autoscaler: x, priority: High}]}", "High isn't known"),
      ("kind: APIBudget\nmetadata: {name: a}\nspec: {provider: Bedrock}", "Bedrock isn't known"),
      (
        "kind: APIBudget\nmetadata: {name: a}\nspec: {spend: {prices: [{model: m, inputUSD: -3, outputUSD: 1}]}}",
        "prices[0].inputUSD: -3"
      ),
      (
        "kind: APIBudget\nmetadata: {name: a}\nspec: {spend: {prices: [{model: m, inputUSD: 3}]}}",
        "inputUSD and outputUSD are needed"
      ),
      ("kind: Deployment", "no object of kind APIBudget"),
      ("a: [", "YAML"),
    ])
  func invalid(yaml: String, words: String) {
    let error = #expect(throws: BudgetFile.Invalid.self) { try BudgetFile(yaml: yaml) }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
  }
}
