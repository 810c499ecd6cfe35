import KubernetesClient
import KubernetesConfiguration
import KubernetesCore

/// Loads kubeconfigs without looking at this process's environment.
enum KubeconfigLoader {
  static func load(_ path: String, _ context: String?) throws -> ClusterConfiguration {
    try loadClusterConfiguration(explicitPath: path, context: context, environment: [:])
  }

  static func credentials(_ cluster: ClusterConfiguration, _ time: any TimeSource) -> any CredentialProvider {
    credentialProvider(for: cluster, environment: [:], timeSource: time)
  }
}
