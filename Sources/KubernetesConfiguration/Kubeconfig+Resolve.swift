import KubernetesClient
import KubernetesCore
import KubernetesYAML
import YAML

extension Kubeconfig {
  /// The configuration of the context `name`, or of the current context.
  func configuration(context name: String?) throws -> ClusterConfiguration {
    let context = try chosenContext(name)
    guard let clusterName = try context.text("cluster") else {
      throw misconfigured(
        "The \(context.place) names no cluster. Set its cluster to one of: \(quotedList(names(.cluster))).")
    }
    let cluster = try entry(.cluster, clusterName, wantedBy: "The \(context.place)")
    var configuration = ClusterConfiguration(
      server: try server(of: cluster), tls: try tls(of: cluster), proxyURL: try cluster.text("proxy-url"),
      defaultNamespace: try context.text("namespace") ?? "default", origin: context.place)
    if let userName = try context.text("user") {
      let user = try entry(.user, userName, wantedBy: "The \(context.place)")
      configuration.tls.clientCertificate = try clientCertificate(of: user)
      configuration.credentials = try credentials(of: user, cluster: cluster, configuration: configuration)
      configuration.impersonation = try impersonation(of: user)
      try checkPlaintext(configuration, user: user)
    }
    return configuration
  }

  private func chosenContext(_ name: String?) throws -> YAMLEntry {
    if let name { return try entry(.context, name, wantedBy: "The option --context") }
    guard let current = currentContext else {
      throw misconfigured(
        "No context is chosen: current-context isn't set in \(files.joined(separator: ", ")). Choose one with "
          + "--context NAME or kubectl config use-context NAME. Known contexts: \(quotedList(names(.context))).")
    }
    return try entry(.context, current.name, wantedBy: "current-context in \(current.file)")
  }

  // MARK: Cluster

  private func server(of cluster: YAMLEntry) throws -> String {
    guard let server = try cluster.text("server") else {
      throw misconfigured(
        "The \(cluster.place) has no server. Set it to the API server's URL, like https://10.0.0.1:6443.")
    }
    do {
      return try ServerAddress(server).description
    } catch let error as KubernetesError {
      throw misconfigured("The \(cluster.place): \(error.message)")
    }
  }

  private func tls(of cluster: YAMLEntry) throws -> TLSSettings {
    let authority = try pem(of: cluster, "certificate-authority")
    let skips = try cluster.flag("insecure-skip-tls-verify")
    if skips, authority != nil {
      throw misconfigured(
        "The \(cluster.place) has both insecure-skip-tls-verify and a certificate authority. Remove "
          + "insecure-skip-tls-verify to verify the server, or the authority not to.")
    }
    return TLSSettings(
      certificateAuthority: authority, serverName: try cluster.text("tls-server-name"), skipsVerification: skips)
  }

  /// The PEM named by `key` (a file) or `key-data` (base64).
  private func pem(of entry: YAMLEntry, _ key: String) throws -> PEMSource? {
    let file = try entry.text(key)
    let data = try entry.base64(key + "-data")
    if file != nil, data != nil {
      throw misconfigured("The \(entry.place) has both \(key) and \(key)-data. Remove one of them.")
    }
    if let data {
      guard data.starts(with: "-----BEGIN".utf8) || String(decoding: data, as: UTF8.self).contains("-----BEGIN") else {
        throw misconfigured(
          "\(key)-data of the \(entry.place) is base64 of something other than PEM. Encode the PEM file.")
      }
      return .data(data)
    }
    guard let file else { return nil }
    let path = entry.resolved(file)
    _ = try read(path, "\(key) of the \(entry.place)")
    return .file(path)
  }

  private func read(_ path: String, _ purpose: String) throws -> [UInt8] {
    try WatchedFile.read(path: path, purpose: purpose)
  }

  // MARK: User

  private func clientCertificate(of user: YAMLEntry) throws -> ClientCertificateSource? {
    switch (try pem(of: user, "client-certificate"), try pem(of: user, "client-key")) {
    case (nil, nil): return nil
    case (let certificate?, let key?): return ClientCertificateSource(certificate: certificate, key: key)
    case (_?, nil):
      throw misconfigured(
        "The \(user.place) has a client certificate without a key. Add client-key or client-key-data.")
    case (nil, _?):
      throw misconfigured(
        "The \(user.place) has a client key without a certificate. Add client-certificate or client-certificate-data.")
    }
  }

  private func credentials(
    of user: YAMLEntry, cluster: YAMLEntry, configuration: ClusterConfiguration
  ) throws -> Credentials {
    if let provider = try user.entry("auth-provider") {
      let name = try provider.text("name") ?? "unnamed"
      throw misconfigured(
        "The \(user.place) uses the auth-provider \"\(name)\", which Kubernetes removed in 1.26. Renew the entry with "
          + "your provider's current tool (for Google: gcloud container clusters get-credentials), which writes exec.")
    }
    let tokenFile = try user.text("tokenFile")
    let token = try user.text("token")
    let name = try user.text("username")
    let exec = try user.entry("exec")
    var found: [String] = []
    if tokenFile != nil || token != nil { found.append("token") }
    if name != nil { found.append("username") }
    if exec != nil { found.append("exec") }
    guard found.count <= 1 else {
      throw misconfigured(
        "The \(user.place) has more than one way to authenticate: \(found.joined(separator: ", ")). Keep one of them.")
    }
    if let tokenFile { return .tokenFile(path: try checkedTokenFile(user.resolved(tokenFile), user)) }
    if let token { return .bearer(Secret(token)) }
    if let name { return .basic(user: name, password: Secret(try user.text("password") ?? "")) }
    if let exec { return .exec(try plugin(exec, cluster: cluster, configuration: configuration)) }
    return .none
  }

  private func checkedTokenFile(_ path: String, _ user: YAMLEntry) throws -> String {
    let token = String(decoding: try read(path, "tokenFile of the \(user.place)"), as: UTF8.self)
    guard !trimmedASCIIWhitespace(token).isEmpty else {
      throw misconfigured("The token file \(path) of the \(user.place) is empty. Write the bearer token into it.")
    }
    return path
  }

  private func plugin(
    _ exec: YAMLEntry, cluster: YAMLEntry, configuration: ClusterConfiguration
  ) throws -> ExecPlugin {
    let prefix = "client.authentication.k8s.io/"
    guard let version = try exec.text("apiVersion"), [prefix + "v1", prefix + "v1beta1"].contains(version) else {
      throw misconfigured(
        "The \(exec.place) must have the apiVersion \(prefix)v1 or \(prefix)v1beta1. Update the plugin and the entry.")
    }
    guard let command = try exec.text("command") else {
      throw misconfigured("The \(exec.place) has no command. Name the program that prints the credential.")
    }
    let modeText = try exec.text("interactiveMode")
    let mode =
      modeText.map { ExecPlugin.InteractiveMode(rawValue: $0) } ?? (version.hasSuffix("/v1") ? nil : .ifAvailable)
    guard let mode else {
      throw misconfigured("The \(exec.place) must have an interactiveMode of Never, IfAvailable or Always.")
    }
    let environment = try exec.entries("env").map { item in
      guard let name = try item.text("name") else { throw misconfigured("The \(item.place) has no name. Give it one.") }
      return ExecPlugin.Variable(name: name, value: try item.text("value") ?? "")
    }
    var plugin = ExecPlugin(
      apiVersion: version, command: command.contains("/") ? exec.resolved(command) : command,
      arguments: try exec.texts("args"), environment: environment, interactiveMode: mode,
      installHint: try exec.text("installHint"))
    if try exec.flag("provideClusterInfo") {
      plugin.clusterInfo = ExecPlugin.ClusterInfo(
        server: configuration.server, tls: configuration.tls, proxyURL: configuration.proxyURL,
        configurationJSON: try pluginConfiguration(of: cluster))
    }
    return plugin
  }

  private func pluginConfiguration(of cluster: YAMLEntry) throws -> String? {
    for item in try cluster.entries("extensions")
    where try item.text("name") == "client.authentication.k8s.io/exec" {
      guard let value = item.value("extension") else { return nil }
      do throws(YAMLError) {
        return String(decoding: try YAMLDocument(value).json.text, as: UTF8.self)
      } catch {
        throw misconfigured("The extension of the \(cluster.place) can't be told to the plugin: \(error).")
      }
    }
    return nil
  }

  private func impersonation(of user: YAMLEntry) throws -> Impersonation? {
    let groups = try user.texts("as-groups")
    let uid = try user.text("as-uid")
    let extra = try user.entry("as-user-extra").map { entry in
      try entry.pairs().map { Impersonation.Extra(name: $0.name, values: try entry.texts($0.name)) }
    }
    guard let name = try user.text("as") else {
      if groups.isEmpty, uid == nil, extra == nil { return nil }
      throw misconfigured("The \(user.place) impersonates groups, a UID or extras without a user. Add as: NAME.")
    }
    return Impersonation(user: name, uid: uid, groups: groups, extra: extra ?? [])
  }

  /// Credentials over plain HTTP are open to everybody on the way; on the host itself (kubectl proxy) nobody is.
  private func checkPlaintext(_ configuration: ClusterConfiguration, user: YAMLEntry) throws {
    let address = try ServerAddress(configuration.server)
    let loopback = ["localhost", "[::1]"].contains(address.host) || address.host.hasPrefix("127.")
    guard address.scheme == "http", !loopback, configuration.credentials != .none else { return }
    throw misconfigured(
      "The \(user.place) would send its credentials unencrypted to \(address). Use an https server URL.")
  }
}
