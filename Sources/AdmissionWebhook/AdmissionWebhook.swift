package import KubernetesCore
package import ScalingAPI
package import ScalingController
package import WorkerEmbedding

/// Answers API servers: embeds the worker side in new pods, and refuses autoscalers and budgets that can't be used.
///
/// Never refuses a pod: what can't be embedded is let in as it is.
package struct AdmissionWebhook: Sendable {
  /// What it goes by.
  package struct Configuration: Sendable {
    /// The settings of embedding, asked for at each pod: the coordinator's authorities change.
    package var settings: @Sendable () -> EmbeddingSettings
    /// The version of the API server; nil: not known yet.
    package var server: @Sendable () -> KubernetesVersion?
    /// The autoscaler that scales a target; nil: none does.
    package var autoscaler: @Sendable (TargetIdentity) -> SwarmAutoscaler?
    /// Serve only the pods of this namespace; nil for all.
    package var namespace: String?
    /// Namespaces whose pods are left alone whatever they say.
    package var excludedNamespaces: Set<String>

    /// Makes a configuration.
    package init(
      settings: @escaping @Sendable () -> EmbeddingSettings, server: @escaping @Sendable () -> KubernetesVersion?,
      autoscaler: @escaping @Sendable (TargetIdentity) -> SwarmAutoscaler?, namespace: String? = nil,
      excludedNamespaces: Set<String> = ["kube-system"]
    ) {
      self.settings = settings
      self.server = server
      self.autoscaler = autoscaler
      self.namespace = namespace
      self.excludedNamespaces = excludedNamespaces
    }
  }

  /// The path of pods.
  package static let podPath = "/mutate-pods"
  /// The path of autoscalers and budgets.
  package static let validationPath = "/validate"
  /// The largest review that is read, in bytes: two objects of the size that etcd takes (1.5 MiB), and room.
  package static let maximumBody = 8 << 20

  private let configuration: Configuration

  /// Makes a webhook.
  package init(_ configuration: Configuration) {
    self.configuration = configuration
  }

  /// The answer to a review sent to `path`, and its outcome in a word; throws `.notFound` for another path, `.invalid` or
  /// `.malformedResponse` when it is no review.
  package func answer(
    _ body: [UInt8], at path: String
  ) throws(KubernetesError) -> (review: [UInt8], outcome: String) {
    guard path == Self.podPath || path == Self.validationPath else {
      throw KubernetesError(.notFound, "here are \(Self.podPath) and \(Self.validationPath)")
    }
    let request = try AdmissionRequest(review: body)
    let response = path == Self.podPath ? mutate(request) : validate(request)
    return (response.review(of: request.uid), response.outcome)
  }

  // MARK: Pods

  /// What becomes of a pod.
  package func mutate(_ request: AdmissionRequest) -> AdmissionResponse {
    guard request.operation == "CREATE", request.kind == "Pod", request.subresource.isEmpty else {
      return .allowed("NotAPod")
    }
    guard configuration.namespace.map({ $0 == request.namespace }) ?? true,
      !configuration.excludedNamespaces.contains(request.namespace)
    else { return .allowed("OtherNamespace") }
    guard let server = configuration.server() else { return .allowed("ServerUnknown") }
    let autoscaler = PodOwner.targets(of: request.object, inNamespace: request.namespace).lazy
      .compactMap(configuration.autoscaler).first
    guard let embedding = self.request(for: request.object, autoscaler, server) else { return .allowed("NotManaged") }
    switch WorkerEmbedding(settings: configuration.settings()).embed(request.object, embedding) {
    case .skipped(let skip):
      return AdmissionResponse(
        warnings: ["swarmscale: the pod is left as it is: \(skip)"], outcome: "Skipped\(skip.code)")
    case .embedded(let pod, let notes):
      return AdmissionResponse(
        patch: JSONPatch.operations(from: request.object, to: pod), warnings: notes.map { "swarmscale: \($0)" },
        outcome: pod == request.object ? "Unchanged" : "Embedded")
    }
  }

  /// What is asked for a pod: by its autoscaler, or by its own label; nil: nothing.
  private func request(
    for pod: JSONValue, _ autoscaler: SwarmAutoscaler?, _ server: KubernetesVersion
  ) -> EmbeddingRequest? {
    if let autoscaler, let request = EmbeddingRequest(autoscaler, server: server) { return request }
    guard WorkerEmbedding.isOptedIn(pod) else { return nil }
    let named = pod["metadata"]?["annotations"]?[EmbeddingNames.autoscaler]?.stringValue
    // Who says None for all pods of a fleet, or nothing, is overruled for one pod by that pod.
    return autoscaler.flatMap { EmbeddingRequest($0, .sidecar, server: server) }
      ?? EmbeddingRequest(autoscaler: named ?? "", server: server)
  }

  // MARK: Autoscalers and budgets

  /// Whether an autoscaler or budget can be used, in the words of `swarmscale validate`.
  package func validate(_ request: AdmissionRequest) -> AdmissionResponse {
    guard request.operation == "CREATE" || request.operation == "UPDATE", request.subresource.isEmpty else {
      return .allowed("NotChecked")
    }
    let issues: [FieldIssue]
    switch request.kind {
    case SwarmAutoscaler.kind: issues = SwarmAutoscaler(request.object).validate()
    case APIBudget.kind: issues = APIBudget(request.object).validate()
    default: return .allowed("NotChecked")
    }
    let warnings = issues.warnings.map(\.description)
    // What was broken before must still get its labels, and lose its finalizers.
    guard !issues.errors.isEmpty, !isSameSpec(request) else {
      return AdmissionResponse(warnings: warnings, outcome: "Valid")
    }
    return AdmissionResponse(
      refusal: issues.errors.map(\.description).joined(separator: "\n"), warnings: warnings, outcome: "Refused")
  }

  private func isSameSpec(_ request: AdmissionRequest) -> Bool {
    request.operation == "UPDATE" && request.object["spec"] == request.oldObject["spec"]
      && request.object["metadata"]?["annotations"] == request.oldObject["metadata"]?["annotations"]
  }
}
