import Foundation
import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import Testing

/// A folder of files for one test; `$DIR` in texts stands for its path.
struct Files {
  let folder: String

  init(_ files: [String: String]) throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("swarmscale-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    folder = url.path
    for (name, text) in files {
      let file = url.appendingPathComponent(name)
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.replacingOccurrences(of: "$DIR", with: folder).utf8).write(to: file)
    }
  }

  func path(_ name: String) -> String { "\(folder)/\(name)" }
}

private let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
private let pemBase64 = Data(pem.utf8).base64EncodedString()

/// A kubeconfig with one context whose cluster and user have these fields.
private func kubeconfig(cluster: String = "server: https://10.0.0.1:6443", user: String = "token: s3cret") -> String {
  """
  apiVersion: v1
  kind: Config
  current-context: main
  contexts:
  - {name: main, context: {cluster: c, user: u, namespace: ns}}
  - {name: anonymous, context: {cluster: c}}
  clusters:
  - name: c
    cluster: {\(cluster)}
  users:
  - name: u
    user: {\(user)}
  """
}

@Suite("Kubeconfig")
struct KubeconfigTests {
  private func load(_ files: Files, context: String? = nil) throws -> ClusterConfiguration {
    try loadClusterConfiguration(explicitPath: files.path("config"), context: context, environment: [:])
  }

  @Test("The current context gives server, namespace, credentials and origin")
  func simple() throws {
    let files = try Files(["config": kubeconfig()])
    let configuration = try load(files)
    #expect(configuration.server == "https://10.0.0.1:6443")
    #expect(configuration.defaultNamespace == "ns")
    #expect(configuration.credentials == .bearer(Secret("s3cret")))
    #expect(configuration.origin == "context \"main\" in \(files.path("config"))")
    let anonymous = try load(files, context: "anonymous")
    #expect(anonymous.credentials == .none)
    #expect(anonymous.defaultNamespace == "default")
  }

  @Test("Every field of cluster and user is understood")
  func everything() throws {
    let cluster =
      "server: https://10.0.0.1:6443/, certificate-authority: ca.crt, tls-server-name: kubernetes, "
      + "proxy-url: \"socks5://127.0.0.1:1080\""
    let user =
      "client-certificate-data: \(pemBase64), client-key: keys/u.key, username: jane, password: pw, as: admin, "
      + "as-uid: u-1, as-groups: [a, b], as-user-extra: {scope: [x]}"
    let files = try Files(["config": kubeconfig(cluster: cluster, user: user), "ca.crt": pem, "keys/u.key": pem])
    let configuration = try load(files)
    #expect(configuration.server == "https://10.0.0.1:6443")
    #expect(
      configuration.tls
        == TLSSettings(
          certificateAuthority: .file(files.path("ca.crt")), serverName: "kubernetes",
          clientCertificate: ClientCertificateSource(
            certificate: .data(Array(pem.utf8)), key: .file(files.path("keys/u.key")))))
    #expect(configuration.proxyURL == "socks5://127.0.0.1:1080")
    #expect(configuration.credentials == .basic(user: "jane", password: Secret("pw")))
    #expect(
      configuration.impersonation
        == Impersonation(user: "admin", uid: "u-1", groups: ["a", "b"], extra: [.init(name: "scope", values: ["x"])]))
  }

  @Test("A credential plugin is understood, with the cluster's extension when it wants to know the cluster")
  func execPlugin() throws {
    let cluster = """
      server: "https://x", insecure-skip-tls-verify: true,
          extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: "a\\"b", n: 3, ok: true}}]
      """
    let user = """
      exec: {apiVersion: client.authentication.k8s.io/v1, command: ./bin/login, args: [get, token],
          env: [{name: A, value: b}], interactiveMode: Never, provideClusterInfo: true, installHint: Install it.}
      """
    let files = try Files(["config": kubeconfig(cluster: cluster, user: user)])
    let tls = TLSSettings(skipsVerification: true)
    #expect(
      try load(files).credentials
        == .exec(
          ExecPlugin(
            apiVersion: "client.authentication.k8s.io/v1", command: files.path("./bin/login"),
            arguments: ["get", "token"], environment: [.init(name: "A", value: "b")], interactiveMode: .never,
            installHint: "Install it.",
            clusterInfo: .init(
              server: "https://x", tls: tls, configurationJSON: "{\"audience\":\"a\\\"b\",\"n\":3,\"ok\":true}"))))
  }

  @Test("Several files: the first that names a thing wins, missing files are passed over, paths belong to their file")
  func merging() throws {
    let files = try Files([
      "a/config": """
      contexts: [{name: both, context: {cluster: c, user: u}}]
      clusters: [{name: c, cluster: {server: "https://first"}}]
      """,
      "b/config": """
      current-context: both
      contexts: [{name: both, context: {cluster: other, user: u}}]
      clusters: [{name: c, cluster: {server: "https://second"}}]
      users: [{name: u, user: {tokenFile: token}}]
      """,
      "b/token": "t",
    ])
    let variable = "\(files.path("missing")):\(files.path("a/config")):\(files.path("b/config"))"
    let configuration = try loadClusterConfiguration(
      explicitPath: nil, context: nil, environment: ["KUBECONFIG": variable])
    #expect(configuration.server == "https://first")
    #expect(configuration.credentials == .tokenFile(path: files.path("b/token")))
  }

  @Test("The order is explicit, KUBECONFIG, the pod's service account, the home folder; a context skips the pod's")
  func order() throws {
    func config(_ host: String) -> String { kubeconfig(cluster: "server: \"https://\(host)\"") }
    let files = try Files([
      "explicit": config("explicit"), "variable": config("variable"), ".kube/config": config("home"),
      "account/token": "t", "account/ca.crt": pem, "account/namespace": "team-a\n",
    ])
    var environment = [
      "HOME": files.folder, "KUBECONFIG": files.path("variable"), "KUBERNETES_SERVICE_HOST": "10.96.0.1",
      "KUBERNETES_SERVICE_PORT": "443",
    ]
    func server(explicit: String? = nil, context: String? = nil) throws -> String {
      try loadClusterConfiguration(
        explicitPath: explicit, context: context, environment: environment, serviceAccountFolder: files.path("account")
      ).server
    }
    #expect(try server(explicit: files.path("explicit")) == "https://explicit")
    #expect(try server() == "https://variable")
    environment["KUBECONFIG"] = nil
    #expect(try server() == "https://10.96.0.1")
    #expect(try server(context: "main") == "https://home")
    environment["KUBERNETES_SERVICE_HOST"] = nil
    #expect(try server() == "https://home")
    environment["HOME"] = nil
    let error = #expect(throws: KubernetesError.self) { try server() }
    #expect(error?.message.hasPrefix("No Kubernetes cluster is configured: ") == true)
  }

  @Test("A pod's configuration has its token file, authority and namespace, IPv6 included")
  func inCluster() throws {
    let files = try Files(["token": "t", "ca.crt": pem, "namespace": "team-a\n"])
    let environment = ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"]
    let configuration = try inClusterConfiguration(environment: environment, folder: files.folder)
    #expect(
      configuration
        == ClusterConfiguration(
          server: "https://[fd00::1]:6443", tls: TLSSettings(certificateAuthority: .file(files.path("ca.crt"))),
          credentials: .tokenFile(path: files.path("token")), defaultNamespace: "team-a",
          origin: "the pod's service account"))
    #expect(try inClusterConfiguration(environment: [:], folder: files.folder) == nil)
  }

  @Test(
    "A pod's configuration that is broken says what is wrong",
    arguments: [
      (["ca.crt": pem], "443", "/token with the token of the pod's service account"),
      (["token": " \n", "ca.crt": pem], "443", "is empty"),
      (["token": "t"], "443", "/ca.crt with the certificate authority"),
      (["token": "t", "ca.crt": pem], "", "KUBERNETES_SERVICE_PORT isn't"),
      (["token": "t", "ca.crt": pem], "tcp", "make no URL"),
    ])
  func brokenInCluster(contents: [String: String], port: String, message: String) throws {
    let files = try Files(contents)
    let error = #expect(throws: KubernetesError.self) {
      try inClusterConfiguration(
        environment: ["KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": port], folder: files.folder)
    }
    #expect(error?.code == .misconfigured)
    #expect(error?.message.contains(message) == true, "\(String(describing: error))")
  }

  @Test("A wrong cluster or user is refused with the exact reason, place and remedy", arguments: wrongEntries)
  func wrong(entry: WrongEntry) throws {
    let files = try Files([
      "config": kubeconfig(
        cluster: entry.cluster ?? "server: \"https://10.0.0.1\"", user: entry.user ?? "token: s3cret"),
      "ca.crt": pem, "empty": "",
    ])
    let error = #expect(throws: KubernetesError.self) { try load(files) }
    #expect(error?.code == .misconfigured)
    #expect(error?.message.replacingOccurrences(of: files.folder, with: "$DIR") == entry.message)
    #expect(error?.message.contains("s3cret") == false)
  }

  @Test("A wrong file is refused with the exact reason", arguments: wrongFiles)
  func wrong(file: WrongFile) throws {
    let files = try Files(["config": file.text])
    let error = #expect(throws: KubernetesError.self) { try load(files, context: file.context) }
    #expect(error?.code == .misconfigured)
    #expect(error?.message.replacingOccurrences(of: files.folder, with: "$DIR") == file.message)
  }

  @Test("A missing file is an error when it is named, and when all of KUBECONFIG's are missing")
  func missing() throws {
    let files = try Files([:])
    let explicit = #expect(throws: KubernetesError.self) { try load(files) }
    #expect(
      explicit?.message
        == "Can't read the file \(files.path("config")) with the kubeconfig: No such file or directory. "
        + "Check that it exists and that this process may read it.")
    let variable = #expect(throws: KubernetesError.self) {
      try loadClusterConfiguration(
        explicitPath: nil, context: nil, environment: ["KUBECONFIG": "\(files.path("x")):\(files.path("y"))"])
    }
    #expect(
      variable?.message
        == "None of the files in KUBECONFIG exists: \(files.path("x")), \(files.path("y")). Correct or unset the variable."
    )
  }
}

/// A cluster or user that must be refused, and the words.
struct WrongEntry: Sendable, CustomTestStringConvertible {
  var cluster: String?
  var user: String?
  var message: String
  var testDescription: String { cluster ?? user ?? "" }
}

private let wrongEntries: [WrongEntry] = [
  WrongEntry(
    cluster: "",
    message:
      "The cluster \"c\" in $DIR/config has no server. Set it to the API server's URL, like https://10.0.0.1:6443."),
  WrongEntry(
    cluster: "server: 10.0.0.1",
    message: "The cluster \"c\" in $DIR/config: The server URL \"10.0.0.1\" has no scheme. "
      + "Write it like https://10.0.0.1:6443 or https://[fd00::1]:6443."),
  WrongEntry(
    cluster: "server: \"http://10.0.0.1\"",
    message:
      "The user \"u\" in $DIR/config would send its credentials unencrypted to http://10.0.0.1. Use an https server URL."
  ),
  WrongEntry(
    cluster: "server: \"https://x\", insecure-skip-tls-verify: maybe",
    message: "insecure-skip-tls-verify of cluster \"c\" in $DIR/config must be true or false. See line 9."),
  WrongEntry(
    cluster: "server: \"https://x\", insecure-skip-tls-verify: true, certificate-authority: ca.crt",
    message: "The cluster \"c\" in $DIR/config has both insecure-skip-tls-verify and a certificate authority. Remove "
      + "insecure-skip-tls-verify to verify the server, or the authority not to."),
  WrongEntry(
    cluster: "server: \"https://x\", certificate-authority: ca.crt, certificate-authority-data: \(pemBase64)",
    message:
      "The cluster \"c\" in $DIR/config has both certificate-authority and certificate-authority-data. Remove one of them."
  ),
  WrongEntry(
    cluster: "server: \"https://x\", certificate-authority-data: \"%%%\"",
    message:
      "certificate-authority-data of cluster \"c\" in $DIR/config isn't valid base64. Write the whole PEM file as one "
      + "base64 line (base64 -w0 FILE), or name the file in certificate-authority instead."),
  WrongEntry(
    cluster: "server: \"https://x\", certificate-authority-data: aGVsbG8=",
    message:
      "certificate-authority-data of the cluster \"c\" in $DIR/config is base64 of something other than PEM. Encode the PEM file."
  ),
  WrongEntry(
    cluster: "server: \"https://x\", certificate-authority: nowhere.crt",
    message: "Can't read the file $DIR/nowhere.crt with certificate-authority of the cluster \"c\" in $DIR/config: "
      + "No such file or directory. Check that it exists and that this process may read it."),
  WrongEntry(
    user: "client-certificate: ca.crt",
    message: "The user \"u\" in $DIR/config has a client certificate without a key. Add client-key or client-key-data."),
  WrongEntry(
    user: "client-key: ca.crt",
    message:
      "The user \"u\" in $DIR/config has a client key without a certificate. Add client-certificate or client-certificate-data."
  ),
  WrongEntry(
    user: "tokenFile: empty",
    message: "The token file $DIR/empty of the user \"u\" in $DIR/config is empty. Write the bearer token into it."),
  WrongEntry(
    user: "token: s3cret, username: x",
    message: "The user \"u\" in $DIR/config has more than one way to authenticate: token, username. Keep one of them."),
  WrongEntry(
    user: "auth-provider: {name: gcp}",
    message:
      "The user \"u\" in $DIR/config uses the auth-provider \"gcp\", which Kubernetes removed in 1.26. Renew the entry with "
      + "your provider's current tool (for Google: gcloud container clusters get-credentials), which writes exec."),
  WrongEntry(
    user: "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}",
    message: "The exec of user \"u\" in $DIR/config must have the apiVersion client.authentication.k8s.io/v1 or "
      + "client.authentication.k8s.io/v1beta1. Update the plugin and the entry."),
  WrongEntry(
    user: "exec: {apiVersion: client.authentication.k8s.io/v1, command: x}",
    message: "The exec of user \"u\" in $DIR/config must have an interactiveMode of Never, IfAvailable or Always."),
  WrongEntry(
    user: "exec: {apiVersion: client.authentication.k8s.io/v1beta1}",
    message: "The exec of user \"u\" in $DIR/config has no command. Name the program that prints the credential."),
  WrongEntry(
    user: "as-groups: [a]",
    message: "The user \"u\" in $DIR/config impersonates groups, a UID or extras without a user. Add as: NAME."),
]

/// A file that must be refused, and the words.
struct WrongFile: Sendable, CustomTestStringConvertible {
  var text: String
  var context: String?
  var message: String
  var testDescription: String { message }
}

private let wrongFiles: [WrongFile] = [
  WrongFile(
    text: "",
    message:
      "No context is chosen: current-context isn't set in $DIR/config. Choose one with --context NAME or kubectl config "
      + "use-context NAME. Known contexts: none."),
  WrongFile(
    text: kubeconfig(), context: "prod",
    message:
      "The option --context names the context \"prod\", which isn't in $DIR/config. Known contexts: \"anonymous\", \"main\"."
  ),
  WrongFile(
    text: "current-context: gone\n",
    message:
      "current-context in $DIR/config names the context \"gone\", which isn't in $DIR/config. Known contexts: none."),
  WrongFile(
    text:
      "current-context: a\ncontexts: [{name: a, context: {cluster: nope}}]\nclusters: [{name: c, cluster: {server: \"https://x\"}}]",
    message:
      "The context \"a\" in $DIR/config names the cluster \"nope\", which isn't in $DIR/config. Known clusters: \"c\"."),
  WrongFile(
    text:
      "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: nope}}]\nclusters: [{name: c, cluster: {server: \"https://x\"}}]",
    message: "The context \"a\" in $DIR/config names the user \"nope\", which isn't in $DIR/config. Known users: none."),
  WrongFile(
    text: "current-context: a\ncontexts: [{name: a, context: {user: u}}]\nclusters: [{name: c}]",
    message: "The context \"a\" in $DIR/config names no cluster. Set its cluster to one of: \"c\"."),
  WrongFile(
    text: "- a\n- b\n", message: "$DIR/config must be a mapping (name: value), but isn't one. See line 1."),
  WrongFile(
    text: "contexts:\n- context: {}\n", message: "contexts[0] of $DIR/config has no name. Give it one."),
  WrongFile(text: "clusters: 5\n", message: "clusters of $DIR/config must be a list. See line 1."),
]

@Suite("Kubeconfig that isn't YAML")
struct KubeconfigSyntaxTests {
  @Test(
    "The error names the file and the line, and never quotes what stands there",
    arguments: [
      ("users:\n- name: [s3cret\n", "at line 3"), ("a: 1\n\tb: s3cret\n", "at line 2"),
      ("a: 1\na: s3cret\n", "the same field stands here twice: a at line 2"),
    ])
  func syntax(text: String, place: String) throws {
    let files = try Files(["config": text])
    let error = #expect(throws: KubernetesError.self) {
      try loadClusterConfiguration(explicitPath: files.path("config"), context: nil, environment: [:])
    }
    #expect(error?.message.hasPrefix("The kubeconfig \(files.path("config")) isn't valid YAML: ") == true)
    #expect(error?.message.contains(place) == true, "\(String(describing: error))")
    #expect(error?.message.contains("s3cret") == false)
  }
}
