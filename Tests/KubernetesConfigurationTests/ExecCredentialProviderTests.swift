import Foundation
import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import Synchronization
import Testing

/// Civil time that the test sets; sleeping ends at once when the test says that time flies, otherwise only by cancellation.
private final class TestTimeSource: TimeSource {
  private let now = Mutex(Timestamp(secondsSinceEpoch: 1_800_000_000))
  private let flies: Bool

  init(flies: Bool = false) {
    self.flies = flies
  }

  var wallNow: Timestamp { now.withLock { $0 } }
  var monotonicNow: MonotonicTime { MonotonicTime(sinceOrigin: .zero) }

  func sleep(until deadline: MonotonicTime) async throws {
    if !flies { try await ContinuousClock().sleep(for: .seconds(3600)) }
  }

  func advance(by duration: Duration) { now.withLock { $0 = $0 + duration } }
}

@Suite("ExecCredentialProvider, with real programs")
struct ExecCredentialProviderTests {
  private let version = "client.authentication.k8s.io/v1"

  /// A plugin that runs the shell script `script`, which counts its runs in the file `runs` of `files`.
  private func plugin(_ script: String, _ files: Files, hint: String? = nil) -> ExecPlugin {
    ExecPlugin(
      apiVersion: version, command: "sh", arguments: ["-c", "echo run >> \"$RUNS\"\n" + script],
      environment: [.init(name: "RUNS", value: files.path("runs"))], interactiveMode: .never, installHint: hint)
  }

  private func provider(_ plugin: ExecPlugin, _ time: TestTimeSource = TestTimeSource()) -> ExecCredentialProvider {
    ExecCredentialProvider(plugin, environment: ["PATH": "/usr/bin:/bin"], timeSource: time)
  }

  private func runs(_ files: Files) throws -> Int {
    try String(contentsOfFile: files.path("runs"), encoding: .utf8).split(separator: "\n").count
  }

  private func credential(_ status: String) -> String {
    "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"\(version)\",\"status\":{\(status)}}'"
  }

  @Test("A token is kept until half a minute before it expires, and asked anew after a 401")
  func caching() async throws {
    let files = try Files([:])
    let time = TestTimeSource()
    let expiry = "2027-01-15T09:00:00Z"  // An hour after the test's clock begins.
    let provider = provider(plugin(credential("\"token\":\"t\",\"expirationTimestamp\":\"\(expiry)\""), files), time)
    let expected = Credential(authorization: .bearer(Secret("t")))
    #expect(try await provider.current(forceRefresh: false) == expected)
    #expect(try await provider.current(forceRefresh: false) == expected)
    #expect(try runs(files) == 1)
    time.advance(by: .seconds(3569))
    _ = try await provider.current(forceRefresh: false)
    #expect(try runs(files) == 1)
    time.advance(by: .seconds(1))
    _ = try await provider.current(forceRefresh: false)
    #expect(try runs(files) == 2)
    _ = try await provider.current(forceRefresh: true)
    #expect(try runs(files) == 3)
  }

  @Test("Many who ask at once get the answer of one run")
  func singleFlight() async throws {
    let files = try Files([:])
    let provider = provider(plugin(credential("\"token\":\"t\""), files))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<20 { group.addTask { _ = try await provider.current(forceRefresh: false) } }
      try await group.waitForAll()
    }
    #expect(try runs(files) == 1)
  }

  @Test("A client certificate, and what the plugin is told about the cluster")
  func certificateAndInformation() async throws {
    let files = try Files([:])
    var plugin = plugin(
      "printf %s \"$KUBERNETES_EXEC_INFO\" > \"$RUNS.info\"\n"
        + credential("\"clientCertificateData\":\"cert\",\"clientKeyData\":\"key\""), files)
    plugin.clusterInfo = .init(
      server: "https://x", tls: TLSSettings(certificateAuthority: .data(Array("ca".utf8)), serverName: "n"),
      configurationJSON: "{\"a\":1}")
    let result = try await provider(plugin).current(forceRefresh: false)
    #expect(result == Credential(clientCertificate: .init(certificate: Array("cert".utf8), key: Array("key".utf8))))
    #expect(
      try String(contentsOfFile: files.path("runs.info"), encoding: .utf8)
        == "{\"apiVersion\":\"\(version)\",\"kind\":\"ExecCredential\",\"spec\":{\"interactive\":false,\"cluster\":"
        + "{\"server\":\"https://x\",\"tls-server-name\":\"n\",\"certificate-authority-data\":\"Y2E=\",\"config\":{\"a\":1}}}}"
    )
  }

  @Test("Output larger than a pipe arrives whole")
  func largeOutput() async throws {
    let files = try Files([:])
    let script =
      "printf '{\"kind\":\"ExecCredential\",\"apiVersion\":\"\(version)\",\"status\":{\"token\":\"'\n"
      + "head -c 200000 /dev/zero | tr '\\0' t\necho '\"}}'"
    let result = try await provider(plugin(script, files)).current(forceRefresh: false)
    #expect(result.authorization == .bearer(Secret(String(repeating: "t", count: 200_000))))
  }

  @Test("A failing plugin's own words, its status and the installation hint are in the error; its output never is")
  func failing() async throws {
    let files = try Files([:])
    let provider = provider(plugin("echo s3cret\necho 'please log in' >&2\nexit 3", files, hint: "Install it.\n"))
    let error = await #expect(throws: KubernetesError.self) { try await provider.current(forceRefresh: false) }
    #expect(
      error?.message
        == "The credential plugin sh failed: it ended with status 3. It says: please log in Hint of the kubeconfig: Install it."
    )
  }

  @Test(
    "Output that isn't a credential is refused with the reason",
    arguments: [
      ("true", "its output is empty"), ("echo s3cret", "its output isn't an ExecCredential in JSON"),
      ("echo '{\"kind\":\"Pod\"}'", "its output has the kind Pod instead of ExecCredential"),
      ("echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"v9\"}'", "its output has the apiVersion v9 where"),
      (
        "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{}}'",
        "neither a token"
      ),
      (
        "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":"
          + "{\"clientKeyData\":\"s3cret\"}}'", "has only one of"
      ),
    ])
  func badOutput(script: String, reason: String) async throws {
    let files = try Files([:])
    let provider = provider(plugin(script, files))
    let error = await #expect(throws: KubernetesError.self) { try await provider.current(forceRefresh: false) }
    #expect(error?.code == .misconfigured)
    #expect(error?.message.contains(reason) == true, "\(String(describing: error))")
    #expect(error?.message.contains("s3cret") == false)
  }

  @Test("A program that isn't there is named, with the hint")
  func missingProgram() async throws {
    let plugin = ExecPlugin(apiVersion: version, command: "no-such-login", installHint: "brew install login")
    let error = await #expect(throws: KubernetesError.self) { try await provider(plugin).current(forceRefresh: false) }
    #expect(
      error?.message
        == "The credential plugin no-such-login failed: the program isn't there, or isn't executable. "
        + "Hint of the kubeconfig: brew install login")
  }

  @Test(
    "A plugin that doesn't end within its time limit is killed", arguments: ["exec sleep 600", "sleep 15 & exit 0"])
  func timeLimit(script: String) async throws {
    let files = try Files([:])
    let provider = provider(plugin(script, files), TestTimeSource(flies: true))
    let error = await #expect(throws: KubernetesError.self) { try await provider.current(forceRefresh: false) }
    #expect(error?.message.contains("it did not end within 60.0 seconds") == true)
  }

  @Test("A renewal that fails before the expiry does no harm")
  func failedRenewal() async throws {
    let files = try Files([:])
    let time = TestTimeSource()
    let script =
      "[ $(wc -l < \"$RUNS\") -eq 1 ] || exit 1\n"
      + credential("\"token\":\"t\",\"expirationTimestamp\":\"2027-01-15T09:00:00Z\"")
    let provider = provider(plugin(script, files), time)
    _ = try await provider.current(forceRefresh: false)
    time.advance(by: .seconds(3580))
    #expect(try await provider.current(forceRefresh: false).authorization == .bearer(Secret("t")))
    #expect(try runs(files) == 2)
    time.advance(by: .seconds(20))
    await #expect(throws: KubernetesError.self) { try await provider.current(forceRefresh: false) }
  }
}
