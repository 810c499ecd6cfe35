// KubernetesConfiguration
