package import KubernetesCore

extension SwarmAutoscaler {
  /// What the controller saw and did last.
  package struct Status: Hashable, Sendable, Codable {
    /// The generation of the spec that this status is about.
    package var observedGeneration: Int64?
    /// When the controller last changed the count.
    package var lastScaleTime: Timestamp?
    /// The count that the scale asked for when it was last read.
    package var currentReplicas: Int32?
    /// The count that the controller last decided on.
    package var desiredReplicas: Int32?
    /// The smallest count in force, defaults filled in.
    package var minReplicas: Int32?
    /// The largest count in force, defaults filled in.
    package var maxReplicas: Int32?
    /// The last readings, in the order of the metrics in force.
    package var currentMetrics: [MetricStatus]?
    /// The readings and targets in one line, such as "cpu: 62%/70-85%".
    package var targets: String?
    /// The step of the decision that fixed the count: Bounds, Demand, Ceiling, WorkInFlight, Stabilization, RatePolicy,
    /// Drain, Paused or Hold.
    package var bindingStep: String?
    /// What kept the count from following the demand, such as "API budget claude"; empty when nothing did.
    package var limitedBy: String?
    /// The last decision, explained in one line.
    package var reason: String?
    /// The label selector of the workers, as text.
    package var selector: String?
    /// The state of the autoscaler in standard form.
    package var conditions: [Condition]?
    /// What windows and policies need to remember across restarts; written and read by the controller only.
    package var history: DecisionHistory?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      observedGeneration: Int64? = nil, lastScaleTime: Timestamp? = nil, currentReplicas: Int32? = nil,
      desiredReplicas: Int32? = nil, minReplicas: Int32? = nil, maxReplicas: Int32? = nil,
      currentMetrics: [MetricStatus]? = nil, targets: String? = nil, bindingStep: String? = nil,
      limitedBy: String? = nil, reason: String? = nil, selector: String? = nil, conditions: [Condition]? = nil,
      history: DecisionHistory? = nil
    ) {
      self.observedGeneration = observedGeneration
      self.lastScaleTime = lastScaleTime
      self.currentReplicas = currentReplicas
      self.desiredReplicas = desiredReplicas
      self.minReplicas = minReplicas
      self.maxReplicas = maxReplicas
      self.currentMetrics = currentMetrics
      self.targets = targets
      self.bindingStep = bindingStep
      self.limitedBy = limitedBy
      self.reason = reason
      self.selector = selector
      self.conditions = conditions
      self.history = history
    }
  }

  /// The controller's memory; its content belongs to the decision and may change with `version`.
  package struct DecisionHistory: Hashable, Sendable, Codable {
    /// The format of the state.
    package var version: Int32?
    /// The state; opaque. Packed, as the cache holds one for each autoscaler and only a restart reads it.
    package var state: PackedJSON?

    /// Makes a value; what is left out is absent from the JSON.
    package init(version: Int32? = nil, state: PackedJSON? = nil) {
      self.version = version
      self.state = state
    }
  }

  /// The last reading of one metric and what it proposed.
  package struct MetricStatus: Hashable, Sendable, Codable {
    /// The kind of source.
    package var type: Open<SwarmAutoscaler.MetricSourceType>?
    /// The reading of a Resource metric.
    @Boxed package var resource: ResourceMetricStatus?
    /// The reading of a ContainerResource metric.
    @Boxed package var containerResource: ContainerResourceMetricStatus?
    /// The reading of a Pods metric.
    @Boxed package var pods: NamedMetricStatus?
    /// The reading of an Object metric.
    @Boxed package var object: ObjectMetricStatus?
    /// The reading of an External metric.
    @Boxed package var external: NamedMetricStatus?
    /// The reading of an APIRate metric.
    @Boxed package var apiRate: APIRateMetricStatus?
    /// The reading of a Backlog metric.
    @Boxed package var backlog: PlainMetricStatus?
    /// The reading of a Prometheus metric.
    @Boxed package var prometheus: PlainMetricStatus?
    /// The state of a Schedule metric.
    @Boxed package var schedule: ScheduleMetricStatus?
    /// The count that the metric proposed or, for a ceiling, allowed; absent when unknown.
    package var proposal: Int32?
    /// Why the metric is unknown, or how it came to its proposal.
    package var message: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      type: Open<SwarmAutoscaler.MetricSourceType>? = nil, resource: ResourceMetricStatus? = nil,
      containerResource: ContainerResourceMetricStatus? = nil, pods: NamedMetricStatus? = nil,
      object: ObjectMetricStatus? = nil, external: NamedMetricStatus? = nil, apiRate: APIRateMetricStatus? = nil,
      backlog: PlainMetricStatus? = nil, prometheus: PlainMetricStatus? = nil, schedule: ScheduleMetricStatus? = nil,
      proposal: Int32? = nil, message: String? = nil
    ) {
      self.type = type
      self.resource = resource
      self.containerResource = containerResource
      self.pods = pods
      self.object = object
      self.external = external
      self.apiRate = apiRate
      self.backlog = backlog
      self.prometheus = prometheus
      self.schedule = schedule
      self.proposal = proposal
      self.message = message
    }
  }

  /// A reading.
  package struct MetricValueStatus: Hashable, Sendable, Codable {
    /// Percent of what the workers request.
    package var averageUtilization: Int32?
    /// The number per worker.
    package var averageValue: Quantity?
    /// The number itself.
    package var value: Quantity?

    /// Makes a value; what is left out is absent from the JSON.
    package init(averageUtilization: Int32? = nil, averageValue: Quantity? = nil, value: Quantity? = nil) {
      self.averageUtilization = averageUtilization
      self.averageValue = averageValue
      self.value = value
    }
  }

  /// A reading of CPU or memory.
  package struct ResourceMetricStatus: Hashable, Sendable, Codable {
    /// The resource.
    package var name: String?
    /// The reading.
    package var current: MetricValueStatus?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil, current: MetricValueStatus? = nil) {
      self.name = name
      self.current = current
    }
  }

  /// A reading of one container's CPU or memory.
  package struct ContainerResourceMetricStatus: Hashable, Sendable, Codable {
    /// The resource.
    package var name: String?
    /// The container.
    package var container: String?
    /// The reading.
    package var current: MetricValueStatus?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil, container: String? = nil, current: MetricValueStatus? = nil) {
      self.name = name
      self.container = container
      self.current = current
    }
  }

  /// A reading of a custom or external metric.
  package struct NamedMetricStatus: Hashable, Sendable, Codable {
    /// Which metric.
    package var metric: MetricIdentifier?
    /// The reading.
    package var current: MetricValueStatus?

    /// Makes a value; what is left out is absent from the JSON.
    package init(metric: MetricIdentifier? = nil, current: MetricValueStatus? = nil) {
      self.metric = metric
      self.current = current
    }
  }

  /// A reading of a metric of another object.
  package struct ObjectMetricStatus: Hashable, Sendable, Codable {
    /// The object.
    package var describedObject: ObjectReference?
    /// Which metric.
    package var metric: MetricIdentifier?
    /// The reading.
    package var current: MetricValueStatus?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      describedObject: ObjectReference? = nil, metric: MetricIdentifier? = nil, current: MetricValueStatus? = nil
    ) {
      self.describedObject = describedObject
      self.metric = metric
      self.current = current
    }
  }

  /// The offered load on a budget.
  package struct APIRateMetricStatus: Hashable, Sendable, Codable {
    /// The budget.
    package var budgetRef: BudgetReference?
    /// The dimension nearest to its limit.
    package var dimension: Open<APIBudget.Dimension>?
    /// averageUtilization: the offered load in percent of the limit.
    package var current: MetricValueStatus?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      budgetRef: BudgetReference? = nil, dimension: Open<APIBudget.Dimension>? = nil, current: MetricValueStatus? = nil
    ) {
      self.budgetRef = budgetRef
      self.dimension = dimension
      self.current = current
    }
  }

  /// A reading without further coordinates.
  package struct PlainMetricStatus: Hashable, Sendable, Codable {
    /// The reading.
    package var current: MetricValueStatus?

    /// Makes a value; what is left out is absent from the JSON.
    package init(current: MetricValueStatus? = nil) {
      self.current = current
    }
  }

  /// Whether a schedule holds.
  package struct ScheduleMetricStatus: Hashable, Sendable, Codable {
    /// Whether the count holds now.
    package var active: Bool?
    /// When that changes next.
    package var nextTransition: Timestamp?

    /// Makes a value; what is left out is absent from the JSON.
    package init(active: Bool? = nil, nextTransition: Timestamp? = nil) {
      self.active = active
      self.nextTransition = nextTransition
    }
  }

  /// One aspect of the state, in standard form.
  package struct Condition: Hashable, Sendable, Codable {
    /// The aspect, such as AbleToScale.
    package var type: String?
    /// True, False or Unknown.
    package var status: Open<SwarmAutoscaler.ConditionStatus>?
    /// Why, in one word.
    package var reason: String?
    /// Why, for people.
    package var message: String?
    /// When the status last changed.
    package var lastTransitionTime: Timestamp?
    /// The generation of the spec that the condition is about.
    package var observedGeneration: Int64?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      type: String? = nil, status: Open<SwarmAutoscaler.ConditionStatus>? = nil, reason: String? = nil,
      message: String? = nil, lastTransitionTime: Timestamp? = nil, observedGeneration: Int64? = nil
    ) {
      self.type = type
      self.status = status
      self.reason = reason
      self.message = message
      self.lastTransitionTime = lastTransitionTime
      self.observedGeneration = observedGeneration
    }
  }
}
