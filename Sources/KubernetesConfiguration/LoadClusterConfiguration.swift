package import KubernetesClient
import KubernetesCore

/// The files that Kubernetes puts into every pod.
package let serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

/// Finds out how to reach the cluster: the explicit file, else `KUBECONFIG`, else the pod's service account, else
/// `~/.kube/config`.
///
/// - Parameters:
///   - explicitPath: The value of `--kubeconfig`; it alone counts then, and must exist.
///   - context: The value of `--context`; a pod's service account has none, so that it is passed over then.
///   - environment: The process's environment.
///   - serviceAccountFolder: Where the pod's service account lies.
package func loadClusterConfiguration(
  explicitPath: String?, context: String?, environment: [String: String],
  serviceAccountFolder: String = serviceAccountFolder
) throws -> ClusterConfiguration {
  if let explicitPath {
    return try Kubeconfig(paths: [explicitPath], ignoresMissing: false).configuration(context: context)
  }
  if let variable = environment["KUBECONFIG"], !variable.isEmpty {
    let paths = variable.split(separator: ":").map(String.init)
    let merged = try Kubeconfig(paths: paths, ignoresMissing: true)
    guard !merged.files.isEmpty else {
      throw misconfigured(
        "None of the files in KUBECONFIG exists: \(paths.joined(separator: ", ")). Correct or unset the variable.")
    }
    return try merged.configuration(context: context)
  }
  if context == nil, let inCluster = try inClusterConfiguration(environment: environment, folder: serviceAccountFolder)
  {
    return inCluster
  }
  let home = environment["HOME"].flatMap { $0.isEmpty ? nil : $0 }
  let path = home.map { $0 + "/.kube/config" }
  if let path, WatchedFile.exists(path: path) {
    return try Kubeconfig(paths: [path], ignoresMissing: false).configuration(context: context)
  }
  throw misconfigured(
    "No Kubernetes cluster is configured: --kubeconfig isn't given, KUBECONFIG isn't set, this isn't a pod "
      + "(KUBERNETES_SERVICE_HOST isn't set), and \(path ?? "~/.kube/config (HOME isn't set)") doesn't exist. "
      + "Name a kubeconfig with --kubeconfig PATH.")
}

/// The configuration of a pod, from its environment and service account; nil outside of a cluster.
package func inClusterConfiguration(
  environment: [String: String], folder: String = serviceAccountFolder
) throws -> ClusterConfiguration? {
  guard let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty else { return nil }
  guard let port = environment["KUBERNETES_SERVICE_PORT"], !port.isEmpty else {
    throw misconfigured(
      "KUBERNETES_SERVICE_HOST is set but KUBERNETES_SERVICE_PORT isn't. Set both as the kubelet does, or neither.")
  }
  let server: String
  do {
    server = try ServerAddress("https://\(host.contains(":") ? "[\(host)]" : host):\(port)").description
  } catch let error as KubernetesError {
    throw misconfigured("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no URL. \(error.message)")
  }
  let hint = "the pod's service account (is automountServiceAccountToken false?)"
  let token = try WatchedFile.read(path: folder + "/token", purpose: "the token of \(hint)")
  guard !trimmedASCIIWhitespace(String(decoding: token, as: UTF8.self)).isEmpty else {
    throw misconfigured("The token file \(folder)/token of \(hint) is empty.")
  }
  _ = try WatchedFile.read(path: folder + "/ca.crt", purpose: "the certificate authority of \(hint)")
  let namespace = (try? WatchedFile.read(path: folder + "/namespace", purpose: "the namespace")).map {
    trimmedASCIIWhitespace(String(decoding: $0, as: UTF8.self))
  }
  return ClusterConfiguration(
    server: server, tls: TLSSettings(certificateAuthority: .file(folder + "/ca.crt")),
    credentials: .tokenFile(path: folder + "/token"),
    defaultNamespace: namespace.flatMap { $0.isEmpty ? nil : $0 } ?? "default",
    origin: "the pod's service account")
}
