import KubernetesCore

/// What befalls a fleet while it shrinks.
struct Scenario: Sendable {
  /// Decides everything that is drawn.
  var seed: UInt64
  /// How many workers there are at first, each with work.
  var demand = 30
  /// How many pieces of work there are at once after half a minute.
  var fallsTo = 10
  /// How long a worker may drain.
  var timeout = Duration.seconds(1_800)
  /// Workers that orders never reach, by the order of their start.
  var deaf: Set<Int> = []
  /// Whether the sidecar's readiness probe is in place, by which a drained worker becomes unready.
  var hasReadinessProbe = true
  /// Whether a preStop hook holds a pod until its work is done.
  var hasPreStop = true
  /// Whether the API server's controllers heed deletion costs (1.22 and later).
  var heedsDeletionCost = true
  /// The faults.
  var faults: Set<Fault> = []
  /// Whether a rollout is stuck since long before the demand falls: the pods of the new version never start.
  var rolloutStands = false
  /// How the count is brought down.
  var method = Method.drain

  enum Fault: CaseIterable {
    /// The Deployment's template changes on the way.
    case rollout
    /// Probes of workers fail for a while.
    case unready
    /// The controller dies, and another one takes over.
    case failover
    /// Others write to the Deployment between the controller's reading and writing.
    case conflicts
    /// The demand comes back, and falls again.
    case demandReturns
  }

  enum Method {
    /// The product's.
    case drain
    /// The HPA's: write the number, and let the ReplicaSet choose.
    case write
    /// The product's, but whoever is idle counts as drained, without order and acknowledgement: what they are for.
    case drainWithoutWaiting
  }

  /// A scenario with what its seed says.
  static func drawn(seed: UInt64) -> Scenario {
    var scenario = Scenario(seed: seed)
    // One seed in eight has no fault, the others one to three.
    let faults = Fault.allCases
    let number = Int(seed)
    if number % 8 != 0 {
      scenario.faults.insert(faults[number % faults.count])
      if number % 3 == 0 { scenario.faults.insert(faults[(number / 5) % faults.count]) }
      if number % 7 == 0 { scenario.faults.insert(faults[(number / 11) % faults.count]) }
    }
    if number % 10 == 3 {
      scenario.deaf = [7, 19]
      scenario.timeout = .seconds(240)
    }
    scenario.heedsDeletionCost = number % 4 != 1
    return scenario
  }
}

/// The objects of a scenario.
enum Manifests {
  static let node: JSONValue = [
    "apiVersion": "v1", "kind": "Node", "metadata": ["name": "local"],
    "status": ["allocatable": ["pods": "200"], "conditions": [["type": "Ready", "status": "True"]]],
  ]

  static func deployment(_ scenario: Scenario) -> JSONValue {
    [
      "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "fleet"],
      "spec": [
        "replicas": .int(Int64(scenario.demand)), "selector": ["matchLabels": ["app": "fleet"]],
        "template": [
          "metadata": ["labels": ["app": "fleet"]],
          "spec": [
            "terminationGracePeriodSeconds": .int(scenario.timeout.components.seconds),
            "containers": [
              ["name": "main", "image": "worker:1"], ["name": "swarmscale-sidecar", "image": "swarmscale-sidecar:1"],
            ],
          ],
        ],
      ],
    ]
  }

  static func autoscaler(_ scenario: Scenario) -> JSONValue {
    [
      "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "metadata": ["name": "fleet"],
      "spec": [
        "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "fleet"],
        "minReplicas": 5, "maxReplicas": 100,
        "metrics": [
          [
            "type": "External",
            "external": [
              "metric": ["name": "tasks"], "target": ["type": "AverageValue", "averageValue": "1"],
            ],
          ]
        ],
        "behavior": [
          "scaleUp": ["stabilizationWindowSeconds": 0, "tolerance": "0"],
          "scaleDown": [
            "stabilizationWindowSeconds": 0, "tolerance": "0",
            "policies": [["type": "Percent", "value": 100, "periodSeconds": 1]],
          ],
        ],
        "drain": ["timeout": .string("\(scenario.timeout.components.seconds)s")],
      ],
    ]
  }
}
