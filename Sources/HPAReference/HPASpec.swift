/// The `spec` of an `autoscaling/v2` HorizontalPodAutoscaler, in the API's own JSON names.
///
/// Source: `k8s.io/api/autoscaling/v2/types.go`. Closed vocabularies are open structs here, because a spec has to be
/// readable before it can be found invalid.
package struct HPASpec: Codable, Hashable, Sendable {
  /// What is scaled.
  package var scaleTargetRef: HPAObjectReference
  /// The lower bound; 1 when unset.
  package var minReplicas: Int32?
  /// The upper bound.
  package var maxReplicas: Int32
  /// The metrics, of which the largest proposal wins; CPU at 80 % when there are none.
  package var metrics: [HPAMetricSpec]?
  /// Limits on the speed of scaling; without it the controller's older rules hold.
  package var behavior: HPABehaviorSpec?

  /// Makes a spec.
  package init(
    scaleTargetRef: HPAObjectReference, minReplicas: Int32? = nil, maxReplicas: Int32,
    metrics: [HPAMetricSpec]? = nil, behavior: HPABehaviorSpec? = nil
  ) {
    self.scaleTargetRef = scaleTargetRef
    self.minReplicas = minReplicas
    self.maxReplicas = maxReplicas
    self.metrics = metrics
    self.behavior = behavior
  }
}

/// A reference to an object of the same namespace (`CrossVersionObjectReference`).
package struct HPAObjectReference: Codable, Hashable, Sendable {
  /// The kind, for example `Deployment`.
  package var kind: String
  /// The name.
  package var name: String
  /// Group and version, for example `apps/v1`.
  package var apiVersion: String?

  /// Makes a reference.
  package init(kind: String, name: String, apiVersion: String? = nil) {
    self.kind = kind
    self.name = name
    self.apiVersion = apiVersion
  }
}

/// Where a metric comes from (`MetricSourceType`).
package struct HPAMetricSourceType: RawRepresentable, Codable, Hashable, Sendable {
  /// The API's text.
  package var rawValue: String
  /// Makes a type from the API's text, known or not.
  package init(rawValue: String) { self.rawValue = rawValue }

  /// One number that belongs to another object.
  package static let object = HPAMetricSourceType(rawValue: "Object")
  /// One custom number for each pod.
  package static let pods = HPAMetricSourceType(rawValue: "Pods")
  /// A resource (`cpu`, `memory`) of whole pods.
  package static let resource = HPAMetricSourceType(rawValue: "Resource")
  /// A resource of one container in each pod.
  package static let containerResource = HPAMetricSourceType(rawValue: "ContainerResource")
  /// A number from outside the cluster.
  package static let external = HPAMetricSourceType(rawValue: "External")
}

/// How a target is meant (`MetricTargetType`).
package struct HPAMetricTargetType: RawRepresentable, Codable, Hashable, Sendable {
  /// The API's text.
  package var rawValue: String
  /// Makes a type from the API's text, known or not.
  package init(rawValue: String) { self.rawValue = rawValue }

  /// Percent of the request.
  package static let utilization = HPAMetricTargetType(rawValue: "Utilization")
  /// The whole value.
  package static let value = HPAMetricTargetType(rawValue: "Value")
  /// The value divided by the number of pods.
  package static let averageValue = HPAMetricTargetType(rawValue: "AverageValue")
}

/// A target: exactly one of the three numbers should be set (`MetricTarget`).
package struct HPAMetricTarget: Codable, Hashable, Sendable {
  /// Which number counts.
  package var type: HPAMetricTargetType
  /// Target for the whole value.
  package var value: HPAQuantity?
  /// Target for the average over pods.
  package var averageValue: HPAQuantity?
  /// Target in percent of the request.
  package var averageUtilization: Int32?

  /// Makes a target.
  package init(
    type: HPAMetricTargetType, value: HPAQuantity? = nil, averageValue: HPAQuantity? = nil,
    averageUtilization: Int32? = nil
  ) {
    self.type = type
    self.value = value
    self.averageValue = averageValue
    self.averageUtilization = averageUtilization
  }
}

/// A metric's name and, optionally, the labels that its series must have (`MetricIdentifier`).
package struct HPAMetricIdentifier: Codable, Hashable, Sendable {
  /// The metric's name.
  package var name: String
  /// Which series of the metric are meant; nil for all.
  package var selector: HPAMetricSelector?

  /// Makes an identifier.
  package init(name: String, selector: HPAMetricSelector? = nil) {
    self.name = name
    self.selector = selector
  }
}

/// `ResourceMetricSource` and `ContainerResourceMetricSource`: the latter names a container.
package struct HPAResourceSource: Codable, Hashable, Sendable {
  /// The resource, for example `cpu`.
  package var name: String
  /// The target.
  package var target: HPAMetricTarget
  /// The container, for a container resource only.
  package var container: String?

  /// Makes a source.
  package init(name: String, target: HPAMetricTarget, container: String? = nil) {
    self.name = name
    self.target = target
    self.container = container
  }
}

/// `PodsMetricSource` and `ExternalMetricSource`, which have the same fields.
package struct HPANamedMetricSource: Codable, Hashable, Sendable {
  /// The metric.
  package var metric: HPAMetricIdentifier
  /// The target.
  package var target: HPAMetricTarget

  /// Makes a source.
  package init(metric: HPAMetricIdentifier, target: HPAMetricTarget) {
    self.metric = metric
    self.target = target
  }
}

/// `ObjectMetricSource`.
package struct HPAObjectSource: Codable, Hashable, Sendable {
  /// The object that the metric belongs to.
  package var describedObject: HPAObjectReference
  /// The metric.
  package var metric: HPAMetricIdentifier
  /// The target.
  package var target: HPAMetricTarget

  /// Makes a source.
  package init(describedObject: HPAObjectReference, metric: HPAMetricIdentifier, target: HPAMetricTarget) {
    self.describedObject = describedObject
    self.metric = metric
    self.target = target
  }
}

/// One entry of `spec.metrics`: a type and the source that goes with it (`MetricSpec`).
package struct HPAMetricSpec: Codable, Hashable, Sendable {
  /// Which of the sources below is meant; empty when the JSON has none.
  package var type: HPAMetricSourceType
  /// Set for `Object`.
  package var object: HPAObjectSource?
  /// Set for `Pods`.
  package var pods: HPANamedMetricSource?
  /// Set for `Resource`.
  package var resource: HPAResourceSource?
  /// Set for `ContainerResource`.
  package var containerResource: HPAResourceSource?
  /// Set for `External`.
  package var external: HPANamedMetricSource?

  /// Makes an entry.
  package init(
    type: HPAMetricSourceType, object: HPAObjectSource? = nil, pods: HPANamedMetricSource? = nil,
    resource: HPAResourceSource? = nil, containerResource: HPAResourceSource? = nil,
    external: HPANamedMetricSource? = nil
  ) {
    self.type = type
    self.object = object
    self.pods = pods
    self.resource = resource
    self.containerResource = containerResource
    self.external = external
  }
}

/// `spec.behavior` (`HorizontalPodAutoscalerBehavior`).
package struct HPABehaviorSpec: Codable, Hashable, Sendable {
  /// Rules for growing.
  package var scaleUp: HPAScalingRules?
  /// Rules for shrinking.
  package var scaleDown: HPAScalingRules?

  /// Makes a behavior.
  package init(scaleUp: HPAScalingRules? = nil, scaleDown: HPAScalingRules? = nil) {
    self.scaleUp = scaleUp
    self.scaleDown = scaleDown
  }
}

/// Which of several policies holds (`ScalingPolicySelect`).
package struct HPASelectPolicy: RawRepresentable, Codable, Hashable, Sendable {
  /// The API's text.
  package var rawValue: String
  /// Makes a selection from the API's text, known or not.
  package init(rawValue: String) { self.rawValue = rawValue }

  /// The policy that allows the largest change.
  package static let max = HPASelectPolicy(rawValue: "Max")
  /// The policy that allows the smallest change.
  package static let min = HPASelectPolicy(rawValue: "Min")
  /// No change in this direction.
  package static let disabled = HPASelectPolicy(rawValue: "Disabled")
}

/// The unit of a policy's value (`HPAScalingPolicyType`).
package struct HPAPolicyType: RawRepresentable, Codable, Hashable, Sendable {
  /// The API's text.
  package var rawValue: String
  /// Makes a type from the API's text, known or not.
  package init(rawValue: String) { self.rawValue = rawValue }

  /// A number of pods.
  package static let pods = HPAPolicyType(rawValue: "Pods")
  /// Percent of the replica count at the period's start.
  package static let percent = HPAPolicyType(rawValue: "Percent")
}

/// How much may change within a period (`HPAScalingPolicy`).
package struct HPAScalingPolicy: Codable, Hashable, Sendable {
  /// The unit of `value`.
  package var type: HPAPolicyType
  /// How many pods, or how many percent.
  package var value: Int32
  /// The period in seconds.
  package var periodSeconds: Int32

  /// Makes a policy.
  package init(type: HPAPolicyType, value: Int32, periodSeconds: Int32) {
    self.type = type
    self.value = value
    self.periodSeconds = periodSeconds
  }
}

/// The rules of one direction (`HPAScalingRules`).
package struct HPAScalingRules: Codable, Hashable, Sendable {
  /// How far back recommendations count, in seconds.
  package var stabilizationWindowSeconds: Int32?
  /// Which policy holds; `Max` when unset.
  package var selectPolicy: HPASelectPolicy?
  /// The policies.
  package var policies: [HPAScalingPolicy]?
  /// The tolerance of this direction as a fraction of the target.
  package var tolerance: HPAQuantity?

  /// Makes rules.
  package init(
    stabilizationWindowSeconds: Int32? = nil, selectPolicy: HPASelectPolicy? = nil,
    policies: [HPAScalingPolicy]? = nil, tolerance: HPAQuantity? = nil
  ) {
    self.stabilizationWindowSeconds = stabilizationWindowSeconds
    self.selectPolicy = selectPolicy
    self.policies = policies
    self.tolerance = tolerance
  }
}

// MARK: - Decoding

// Go leaves a string that the JSON lacks empty, and only validation finds fault with it; Swift's synthesised decoding
// would refuse the document. These decoders keep Go's reading.

extension HPASpec {
  /// Reads a spec; a missing `maxReplicas` is 0 and `null` means "not there".
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      scaleTargetRef: try container.decodeIfPresent(HPAObjectReference.self, forKey: .scaleTargetRef)
        ?? HPAObjectReference(kind: "", name: ""),
      minReplicas: try container.decodeIfPresent(Int32.self, forKey: .minReplicas),
      maxReplicas: try container.decodeIfPresent(Int32.self, forKey: .maxReplicas) ?? 0,
      metrics: try container.decodeIfPresent([HPAMetricSpec].self, forKey: .metrics),
      behavior: try container.decodeIfPresent(HPABehaviorSpec.self, forKey: .behavior))
  }
}

extension HPAObjectReference {
  /// Reads a reference; missing texts are empty.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      kind: try container.decodeIfPresent(String.self, forKey: .kind) ?? "",
      name: try container.decodeIfPresent(String.self, forKey: .name) ?? "",
      apiVersion: try container.decodeIfPresent(String.self, forKey: .apiVersion))
  }
}

extension HPAMetricTarget {
  /// Reads a target; a missing type is empty.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      type: try container.decodeIfPresent(HPAMetricTargetType.self, forKey: .type) ?? .init(rawValue: ""),
      value: try container.decodeIfPresent(HPAQuantity.self, forKey: .value),
      averageValue: try container.decodeIfPresent(HPAQuantity.self, forKey: .averageValue),
      averageUtilization: try container.decodeIfPresent(Int32.self, forKey: .averageUtilization))
  }
}

extension HPAMetricIdentifier {
  /// Reads an identifier; a missing name is empty.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      name: try container.decodeIfPresent(String.self, forKey: .name) ?? "",
      selector: try container.decodeIfPresent(HPAMetricSelector.self, forKey: .selector))
  }
}

extension HPAResourceSource {
  /// Reads a source; a missing name is empty and a missing target has no type.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      name: try container.decodeIfPresent(String.self, forKey: .name) ?? "",
      target: try container.decodeIfPresent(HPAMetricTarget.self, forKey: .target) ?? .unset,
      container: try container.decodeIfPresent(String.self, forKey: .container))
  }
}

extension HPANamedMetricSource {
  /// Reads a source; missing parts are empty.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      metric: try container.decodeIfPresent(HPAMetricIdentifier.self, forKey: .metric)
        ?? HPAMetricIdentifier(name: ""),
      target: try container.decodeIfPresent(HPAMetricTarget.self, forKey: .target) ?? .unset)
  }
}

extension HPAObjectSource {
  /// Reads a source; missing parts are empty.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      describedObject: try container.decodeIfPresent(HPAObjectReference.self, forKey: .describedObject)
        ?? HPAObjectReference(kind: "", name: ""),
      metric: try container.decodeIfPresent(HPAMetricIdentifier.self, forKey: .metric)
        ?? HPAMetricIdentifier(name: ""),
      target: try container.decodeIfPresent(HPAMetricTarget.self, forKey: .target) ?? .unset)
  }
}

extension HPAMetricSpec {
  /// Reads an entry; a missing type is empty.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      type: try container.decodeIfPresent(HPAMetricSourceType.self, forKey: .type) ?? .init(rawValue: ""),
      object: try container.decodeIfPresent(HPAObjectSource.self, forKey: .object),
      pods: try container.decodeIfPresent(HPANamedMetricSource.self, forKey: .pods),
      resource: try container.decodeIfPresent(HPAResourceSource.self, forKey: .resource),
      containerResource: try container.decodeIfPresent(HPAResourceSource.self, forKey: .containerResource),
      external: try container.decodeIfPresent(HPANamedMetricSource.self, forKey: .external))
  }
}

extension HPAScalingPolicy {
  /// Reads a policy; a missing type is empty and missing numbers are 0.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      type: try container.decodeIfPresent(HPAPolicyType.self, forKey: .type) ?? .init(rawValue: ""),
      value: try container.decodeIfPresent(Int32.self, forKey: .value) ?? 0,
      periodSeconds: try container.decodeIfPresent(Int32.self, forKey: .periodSeconds) ?? 0)
  }
}

extension HPAMetricTarget {
  /// The target that Go makes of a missing one.
  static let unset = HPAMetricTarget(type: .init(rawValue: ""))
}
