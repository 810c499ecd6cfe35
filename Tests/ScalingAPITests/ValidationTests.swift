import KubernetesCore
import ScalingAPI
import Testing

/// A spec that is valid but for the given members.
private func spec(_ changes: [String: JSONValue]) -> JSONValue {
  var spec: JSONValue = ["scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "web"]]
  for (key, value) in changes { spec[key] = value }
  return spec
}

private func metric(_ type: JSONValue, _ member: String, _ value: JSONValue) -> JSONValue {
  spec(["metrics": [.object(["type": type, member: value])]])
}

private func cpu(_ target: JSONValue) -> JSONValue {
  metric("Resource", "resource", ["name": "cpu", "target": target])
}

private func prometheus(_ changes: [String: JSONValue]) -> JSONValue {
  var source: JSONValue = [
    "serverAddress": "https://prometheus:9090", "query": "sum(queue)",
    "target": ["type": "AverageValue", "averageValue": "4"],
  ]
  for (key, value) in changes { source[key] = value }
  return metric("Prometheus", "prometheus", source)
}

private func schedule(_ changes: [String: JSONValue]) -> JSONValue {
  var source: JSONValue = ["start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "replicas": 20]
  for (key, value) in changes { source[key] = value }
  return metric("Schedule", "schedule", source)
}

/// One rule: a spec that breaks it, and what the finding must say.
struct Rule: Sendable, CustomTestStringConvertible {
  var name: String
  var spec: JSONValue
  var path: String
  var value: String
  var fix: String
  var severity = FieldIssue.Severity.error

  var testDescription: String { name }
}

private let target = "spec.metrics[0].resource.target"
private let query = "spec.metrics[0].prometheus"
private let hours = "spec.metrics[0].schedule"

private let specRules: [Rule] = [
  Rule(name: "unknown field", spec: spec(["maxReplica": 7]), path: "spec.maxReplica", value: "7", fix: "maxReplicas"),
  Rule(
    name: "wrong type", spec: spec(["minReplicas": "five"]), path: "spec.minReplicas", value: "five",
    fix: "without quotes"),
  Rule(
    name: "number too large", spec: spec(["maxReplicas": 3_000_000_000]), path: "spec.maxReplicas",
    value: "3000000000", fix: "5"),
  Rule(
    name: "min above max", spec: spec(["minReplicas": 9, "maxReplicas": 8]), path: "spec.maxReplicas", value: "8",
    fix: "maxReplicas: 9"),
  Rule(name: "min zero", spec: spec(["minReplicas": 0]), path: "spec.metrics", value: "", fix: "minReplicas: 1"),
  Rule(
    name: "sync too fast", spec: spec(["syncPeriodSeconds": 2]), path: "spec.syncPeriodSeconds", value: "2",
    fix: "write 3"),
  Rule(
    name: "no target", spec: ["maxReplicas": 8], path: "spec.scaleTargetRef", value: "", fix: "apps/v1"),
  Rule(
    name: "drain timeout", spec: spec(["drain": ["timeout": "30 minutes"]]), path: "spec.drain.timeout",
    value: "30 minutes", fix: "30m"),
  Rule(
    name: "drain strategy", spec: spec(["drain": ["strategy": "IdelFirst"]]), path: "spec.drain.strategy",
    value: "IdelFirst", fix: "IdleFirst"),
  Rule(
    name: "fallback without count", spec: spec(["fallback": ["failureThreshold": 3]]), path: "spec.fallback.replicas",
    value: "", fix: "replicas: 10"),
  Rule(
    name: "fallback out of bounds", spec: spec(["fallback": ["replicas": 500]]), path: "spec.fallback.replicas",
    value: "500", fix: "write 100 or less", severity: .warning),
  Rule(
    name: "embed mode", spec: spec(["embed": ["mode": "Sidecart"]]), path: "spec.embed.mode", value: "Sidecart",
    fix: "Sidecar"),
  Rule(
    name: "policy period",
    spec: spec(["behavior": ["scaleDown": ["policies": [["type": "Pods", "value": 1, "periodSeconds": 1801]]]]]),
    path: "spec.behavior.scaleDown.policies[0].periodSeconds", value: "1801", fix: "write 1800"),
  Rule(
    name: "both directions frozen",
    spec: spec(["behavior": ["scaleUp": ["selectPolicy": "Disabled"], "scaleDown": ["selectPolicy": "Disabled"]]]),
    path: "spec.behavior", value: "", fix: "paused", severity: .warning),
  Rule(
    name: "tolerance beside bands", spec: spec(["behavior": ["scaleUp": ["tolerance": "50m"]]]),
    path: "spec.behavior.scaleUp.tolerance", value: "50m", fix: "widen", severity: .warning),
]

private let metricRules: [Rule] = [
  Rule(
    name: "unknown type", spec: metric("Promethues", "resource", [:]), path: "spec.metrics[0].type",
    value: "Promethues", fix: "write Prometheus"),
  Rule(
    name: "resource that nobody measures",
    spec: metric(
      "Resource", "resource",
      ["name": "nvidia.com/gpu", "target": ["type": "AverageValue", "averageValue": "1"]]),
    path: "spec.metrics[0].resource.name", value: "nvidia.com/gpu", fix: "cpu or memory"),
  Rule(
    name: "container resource that nobody measures",
    spec: metric(
      "ContainerResource", "containerResource",
      [
        "name": "ephemeral-storage", "container": "worker",
        "target": ["type": "AverageValue", "averageValue": "1"],
      ]),
    path: "spec.metrics[0].containerResource.name", value: "ephemeral-storage", fix: "cpu or memory"),
  Rule(
    name: "band inverted", spec: cpu(["type": "Band", "lower": 85, "upper": 70]), path: "\(target).lower", value: "85",
    fix: "below 70"),
  Rule(
    name: "band of zero", spec: cpu(["type": "Band", "lower": 0, "upper": 70]), path: "\(target).lower", value: "0",
    fix: "positive"),
  Rule(
    name: "band too high", spec: cpu(["type": "Band", "lower": 70, "upper": 1001]), path: "\(target).upper",
    value: "1001", fix: "85"),
  Rule(
    name: "band of fractions", spec: cpu(["type": "Band", "lower": "70500m", "upper": 85]), path: "\(target).lower",
    value: "70500m", fix: "percentage"),
  Rule(
    name: "band half open", spec: cpu(["type": "Band", "lower": 70]), path: "\(target).upper", value: "",
    fix: "upper: 85"),
  Rule(
    name: "band of another type", spec: cpu(["type": "Utilization", "lower": 70, "upper": 85]), path: "\(target).type",
    value: "Utilization", fix: "type: Band"),
  Rule(
    name: "band with a mean", spec: cpu(["type": "Band", "lower": 70, "upper": 85, "averageValue": "4"]),
    path: "\(target).averageValue", value: "", fix: "remove"),
  Rule(
    name: "band too narrow", spec: cpu(["type": "Band", "lower": 80, "upper": 85]), path: "\(target).lower",
    value: "80", fix: "minReplicas: 16", severity: .warning),
  Rule(
    name: "not a quantity", spec: cpu(["type": "AverageValue", "averageValue": "4 cores"]),
    path: "\(target).averageValue", value: "4 cores", fix: "500m"),
  Rule(
    name: "misspelt band", spec: cpu(["type": "Band", "lowr": 70, "upper": 85]), path: "\(target).lowr", value: "70",
    fix: "lower"),
  Rule(
    name: "budget band above 100",
    spec: metric("APIRate", "apiRate", ["budgetRef": ["name": "claude"], "target": ["lower": 85, "upper": 101]]),
    path: "spec.metrics[0].apiRate.target.upper", value: "101", fix: "write 100"),
  Rule(
    name: "budget without name", spec: metric("APIRate", "apiRate", [:]),
    path: "spec.metrics[0].apiRate.budgetRef.name", value: "", fix: "claude"),
  Rule(
    name: "only ceilings", spec: metric("APIRate", "apiRate", ["budgetRef": ["name": "claude"]]), path: "spec.metrics",
    value: "", fix: "Backlog", severity: .warning),
  Rule(
    name: "backlog without target", spec: metric("Backlog", "backlog", [:]), path: "spec.metrics[0].backlog.target",
    value: "", fix: "averageValue"),
  Rule(
    name: "backlog with two sources",
    spec: metric(
      "Backlog", "backlog",
      [
        "target": ["averageValue": 4],
        "source": [
          "external": ["metric": ["name": "a"]], "prometheus": ["serverAddress": "http://p", "query": "q"],
        ],
      ]), path: "spec.metrics[0].backlog.source", value: "", fix: "keep one"),
]

private let sourceRules: [Rule] = [
  Rule(
    name: "address without scheme", spec: prometheus(["serverAddress": "prometheus:9090"]),
    path: "\(query).serverAddress", value: "prometheus:9090", fix: "http://"),
  Rule(
    name: "address with password", spec: prometheus(["serverAddress": "http://a:b@p"]), path: "\(query).serverAddress",
    value: "(hidden)", fix: "Secret"),
  Rule(name: "empty query", spec: prometheus(["query": " "]), path: "\(query).query", value: "", fix: "PromQL"),
  Rule(
    name: "absent choice", spec: prometheus(["absent": "hold"]), path: "\(query).absent", value: "hold",
    fix: "write Hold"),
  Rule(
    name: "authentication type", spec: prometheus(["authentication": ["type": "Token", "secretRef": ["name": "a"]]]),
    path: "\(query).authentication.type", value: "Token", fix: "one of them"),
  Rule(
    name: "authentication without secret", spec: prometheus(["authentication": ["type": "Basic"]]),
    path: "\(query).authentication.secretRef.name", value: "", fix: "prometheus-token"),
  Rule(
    name: "token over http",
    spec: prometheus([
      "serverAddress": "http://p", "authentication": ["type": "Bearer", "secretRef": ["name": "a"]],
    ]), path: "\(query).authentication", value: "", fix: "https", severity: .warning),
  Rule(
    name: "any certificate", spec: prometheus(["tls": ["insecureSkipVerify": true]]),
    path: "\(query).tls.insecureSkipVerify", value: "true", fix: "caSecretRef", severity: .warning),
  Rule(
    name: "cron of four fields", spec: schedule(["start": "0 8 * *"]), path: "\(hours).start", value: "0 8 * *",
    fix: "0 8 * * 1-5"),
  Rule(
    name: "cron out of range", spec: schedule(["end": "0 24 * * *"]), path: "\(hours).end", value: "0 24 * * *",
    fix: "0 18 * * 1-5"),
  Rule(
    name: "cron without date", spec: schedule(["end": "0 0 31 2 *"]), path: "\(hours).end", value: "0 0 31 2 *",
    fix: "0 18 * * 1-5"),
  Rule(
    name: "end as start", spec: schedule(["end": "0 8 * * 1-5"]), path: "\(hours).end", value: "0 8 * * 1-5",
    fix: "when the count ends"),
  Rule(
    name: "time zone", spec: schedule(["timeZone": "GMT+1:00"]), path: "\(hours).timeZone", value: "GMT+1:00",
    fix: "Europe/Berlin"),
  Rule(
    name: "count above max", spec: schedule(["replicas": 120]), path: "\(hours).replicas", value: "120",
    fix: "write 100 or less", severity: .warning),
]

@Suite("Validation")
struct ValidationTests {
  @Test("each rule names field, value and fix", arguments: specRules + metricRules + sourceRules)
  func rule(_ rule: Rule) throws {
    let object = autoscaler(spec: rule.spec)
    let issues = object.validate()
    let issue = try #require(issues.first { $0.path == rule.path && $0.severity == rule.severity }, "\(issues)")
    #expect(issue.value == rule.value)
    #expect(issue.fix.contains(rule.fix), "\(issue)")
    #expect(issue.description.contains(rule.path) && issue.description.contains(rule.value))
    #expect(!issue.message.isEmpty)
    if rule.severity == .error {
      #expect(issues.errors.map(\.path) == [rule.path], "one fault, one error")
      #expect(throws: InvalidSpecError.self) { try object.resolved() }
    } else {
      #expect(issues.errors.isEmpty)
      #expect(throws: Never.self) { try object.resolved() }
    }
  }

  @Test("a band of 70-85 is quiet from five workers up and warns below")
  func bandAdvice() {
    let band: JSONValue = ["type": "Band", "lower": 70, "upper": 85]
    var five = cpu(band)
    five["minReplicas"] = 5
    var four = cpu(band)
    four["minReplicas"] = 4
    #expect(autoscaler(spec: five).validate().isEmpty)
    #expect(autoscaler(spec: four).validate().warnings.map(\.path) == ["spec.metrics[0].resource.target.lower"])
  }

  @Test("annotations that can't be read pause, and say so")
  func pauses() throws {
    var object = autoscaler(spec: spec([:]))
    object.metadata.annotations = [
      ScalingGroup.Annotation.pausedReplicas: "many", ScalingGroup.Annotation.pausedScaleUp: "true",
      "swarmscale.dev/pause-scale-down": "true",
    ]
    let resolved = try object.resolved()
    #expect(resolved.pause.isPaused && resolved.pause.isScaleUpPaused && !resolved.pause.isScaleDownPaused)
    #expect(resolved.pause.replicas == nil)
    #expect(object.validate().warnings.count == 2)
    object.metadata.annotations = [ScalingGroup.Annotation.pausedReplicas: "12"]
    #expect(try object.resolved().pause.replicas == 12)
    #expect(object.validate().isEmpty)
  }

  @Test("each rule of budgets names its field")
  func budgets() {
    let budget = APIBudget([
      "metadata": ["name": "claude"],
      "spec": [
        "provider": "OpenAi", "models": ["claude sonnet"], "limits": ["requestsPerMinute": 0, "tokens": 4],
        "target": ["lower": 96], "burst": ["seconds": 61], "reserve": 91,
        "shares": [["autoscaler": "a"], ["autoscaler": "a", "weight": 0, "priority": "Norml"]],
        "spend": [
          "dailyUSD": -1,
          "prices": [
            ["model": "", "inputUSD": 3, "outputUSD": 15], ["model": "m", "inputUSD": -1, "outputUSD": 1001],
            ["model": "n"],
          ],
        ],
      ],
    ])
    #expect(
      Set(budget.validate().errors.map(\.path)) == [
        "spec.limits.tokens", "spec.provider", "spec.models[0]", "spec.limits.requestsPerMinute", "spec.target.lower",
        "spec.burst.seconds", "spec.reserve", "spec.shares[1].autoscaler", "spec.shares[1].weight",
        "spec.shares[1].priority", "spec.spend.dailyUSD", "spec.spend.prices[0].model", "spec.spend.prices[1].inputUSD",
        "spec.spend.prices[1].outputUSD", "spec.spend.prices[2].inputUSD", "spec.spend.prices[2].outputUSD",
      ])
    #expect(throws: InvalidSpecError.self) { try budget.resolved() }
  }
}
