// KubernetesProtobuf
