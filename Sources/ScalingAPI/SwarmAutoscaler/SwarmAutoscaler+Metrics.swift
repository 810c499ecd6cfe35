package import KubernetesCore

extension SwarmAutoscaler {
  /// A reference to any object of the namespace.
  package struct ObjectReference: Hashable, Sendable, Codable {
    /// The API group and version, such as networking.k8s.io/v1.
    package var apiVersion: String?
    /// The kind, such as Ingress.
    package var kind: String?
    /// The name.
    package var name: String?

    /// Makes a value; what is left out is absent from the JSON.
    package init(apiVersion: String? = nil, kind: String? = nil, name: String? = nil) {
      self.apiVersion = apiVersion
      self.kind = kind
      self.name = name
    }
  }

  /// One metric: the member named after `type` says where its number comes from and what it should be.
  package struct MetricSpec: Hashable, Sendable, Codable {
    /// The kind of source. The member of the same name, in lower camel case, must be filled in and no other.
    package var type: Open<SwarmAutoscaler.MetricSourceType>?
    /// CPU or memory of whole workers (type Resource).
    @Boxed package var resource: ResourceMetric?
    /// CPU or memory of one container of each worker (type ContainerResource).
    @Boxed package var containerResource: ContainerResourceMetric?
    /// A number of each worker's own (type Pods).
    @Boxed package var pods: PodsMetric?
    /// A number of another Kubernetes object (type Object).
    @Boxed package var object: ObjectMetric?
    /// A number from outside the cluster (type External); all returned series are added.
    @Boxed package var external: ExternalMetric?
    /// The load on a shared API budget (type APIRate): caps the count, never raises it.
    @Boxed package var apiRate: APIRateMetric?
    /// Work queued and in flight (type Backlog).
    @Boxed package var backlog: BacklogMetric?
    /// The result of a PromQL query (type Prometheus).
    @Boxed package var prometheus: PrometheusMetric?
    /// A count that holds at certain hours (type Schedule).
    @Boxed package var schedule: ScheduleMetric?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      type: Open<SwarmAutoscaler.MetricSourceType>? = nil, resource: ResourceMetric? = nil,
      containerResource: ContainerResourceMetric? = nil, pods: PodsMetric? = nil, object: ObjectMetric? = nil,
      external: ExternalMetric? = nil, apiRate: APIRateMetric? = nil, backlog: BacklogMetric? = nil,
      prometheus: PrometheusMetric? = nil, schedule: ScheduleMetric? = nil
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
    }
  }

  /// CPU or memory of whole workers.
  package struct ResourceMetric: Hashable, Sendable, Codable {
    /// The resource: cpu or memory.
    package var name: String?
    /// Utilization or Band (percent of the requests), or AverageValue.
    package var target: MetricTarget?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil, target: MetricTarget? = nil) {
      self.name = name
      self.target = target
    }
  }

  /// CPU or memory of one container of each worker.
  package struct ContainerResourceMetric: Hashable, Sendable, Codable {
    /// The resource: cpu or memory.
    package var name: String?
    /// The name of the container.
    package var container: String?
    /// Utilization or Band (percent of the container's request), or AverageValue.
    package var target: MetricTarget?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil, container: String? = nil, target: MetricTarget? = nil) {
      self.name = name
      self.container = container
      self.target = target
    }
  }

  /// The name of a custom or external metric.
  package struct MetricIdentifier: Hashable, Sendable, Codable {
    /// The metric's name.
    package var name: String?
    /// Which series of the metric count; all of them when left out.
    package var selector: LabelSelector?

    /// Makes a value; what is left out is absent from the JSON.
    package init(name: String? = nil, selector: LabelSelector? = nil) {
      self.name = name
      self.selector = selector
    }
  }

  /// A number of each worker's own.
  package struct PodsMetric: Hashable, Sendable, Codable {
    /// Which metric.
    package var metric: MetricIdentifier?
    /// AverageValue, or Band of the mean per worker.
    package var target: MetricTarget?

    /// Makes a value; what is left out is absent from the JSON.
    package init(metric: MetricIdentifier? = nil, target: MetricTarget? = nil) {
      self.metric = metric
      self.target = target
    }
  }

  /// A number of another Kubernetes object.
  package struct ObjectMetric: Hashable, Sendable, Codable {
    /// The object that the number describes.
    package var describedObject: ObjectReference?
    /// Which metric.
    package var metric: MetricIdentifier?
    /// Value, AverageValue, or Band of the mean per worker.
    package var target: MetricTarget?

    /// Makes a value; what is left out is absent from the JSON.
    package init(describedObject: ObjectReference? = nil, metric: MetricIdentifier? = nil, target: MetricTarget? = nil)
    {
      self.describedObject = describedObject
      self.metric = metric
      self.target = target
    }
  }

  /// A number from outside the cluster.
  package struct ExternalMetric: Hashable, Sendable, Codable {
    /// Which metric.
    package var metric: MetricIdentifier?
    /// Value, AverageValue, or Band of the mean per worker.
    package var target: MetricTarget?

    /// Makes a value; what is left out is absent from the JSON.
    package init(metric: MetricIdentifier? = nil, target: MetricTarget? = nil) {
      self.metric = metric
      self.target = target
    }
  }

  /// What a metric's number should be; the field that belongs to `type` must be set.
  package struct MetricTarget: Hashable, Sendable, Codable {
    /// Utilization needs averageUtilization, Value needs value, AverageValue needs averageValue, Band needs lower and
    /// upper.
    package var type: Open<SwarmAutoscaler.TargetType>?
    /// The number itself, such as "30" or "1500m".
    package var value: Quantity?
    /// The number per worker, such as "4" or "500m".
    package var averageValue: Quantity?
    /// Percent of what the workers request.
    package var averageUtilization: Int32?
    /// The lower end of a band: whole percent of requests for resources, otherwise the mean per worker.
    package var lower: Quantity?
    /// The upper end of a band.
    package var upper: Quantity?

    /// Makes a value; what is left out is absent from the JSON.
    package init(
      type: Open<SwarmAutoscaler.TargetType>? = nil, value: Quantity? = nil, averageValue: Quantity? = nil,
      averageUtilization: Int32? = nil, lower: Quantity? = nil, upper: Quantity? = nil
    ) {
      self.type = type
      self.value = value
      self.averageValue = averageValue
      self.averageUtilization = averageUtilization
      self.lower = lower
      self.upper = upper
    }
  }
}
