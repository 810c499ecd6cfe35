import KubernetesCore
package import ScalingAPI

extension EmbeddingRequest {
  /// What an autoscaler asks for its pods; nil: its pods are left as they are.
  package init?(_ autoscaler: SwarmAutoscaler, server: KubernetesVersion) {
    guard let embed = autoscaler.spec.embed else { return nil }
    self.init(autoscaler, embed.mode?.known ?? .sidecar, server: server)
  }

  /// The same with another mode than the autoscaler's; nil for None.
  package init?(_ autoscaler: SwarmAutoscaler, _ mode: SwarmAutoscaler.EmbedMode, server: KubernetesVersion) {
    switch mode {
    case .sidecar: self.init(server: server)
    case .library: self.init(mode: .library, server: server)
    case .disabled: return nil
    }
    self.autoscaler = autoscaler.metadata.name
    // A spec that can't be read says nothing; the controller says what is wrong with it.
    drainSeconds = ResolvedAutoscaler.Drain(autoscaler.spec.drain).timeout?.components.seconds
  }
}
