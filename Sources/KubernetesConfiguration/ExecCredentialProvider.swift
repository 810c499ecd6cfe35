package import KubernetesClient
package import KubernetesCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Asks a credential plugin, keeps its answer until shortly before it expires, and asks once for all who wait.
package actor ExecCredentialProvider: CredentialProvider {
  private let plugin: ExecPlugin
  private let environment: [String: String]
  private let timeSource: any TimeSource
  private let timeLimit: Duration
  private var cached: ExecCredential?
  private var isRunning = false
  private var waiters: [CheckedContinuation<Void, Never>] = []
  /// Counts answers, so that those who saw the same 401 together ask only once.
  private var generation = 0

  /// How long before its expiry a credential is renewed: it must outlive the requests made with it.
  private static let renewalMargin = Duration.seconds(30)

  /// Makes a provider; the plugin is first run for the first request.
  ///
  /// - Parameters:
  ///   - plugin: The plugin.
  ///   - environment: The process's environment, to which the plugin's own variables are added.
  ///   - timeLimit: The longest that the plugin may run.
  package init(
    _ plugin: ExecPlugin, environment: [String: String], timeSource: any TimeSource,
    timeLimit: Duration = .seconds(60)
  ) {
    self.plugin = plugin
    self.environment = environment
    self.timeSource = timeSource
    self.timeLimit = timeLimit
  }

  package func current(forceRefresh: Bool) async throws -> Credential {
    let seen = generation
    while true {
      if let cached, isFresh(cached), !forceRefresh || generation != seen { return cached.credential }
      if !isRunning { break }
      await withCheckedContinuation { waiters.append($0) }
    }
    isRunning = true
    defer {
      isRunning = false
      waiters.forEach { $0.resume() }
      waiters = []
    }
    do {
      let renewed = try await run()
      cached = renewed
      generation += 1
      return renewed.credential
    } catch {
      // Renewal comes before the expiry so that a plugin that fails once does no harm.
      if let cached, !forceRefresh, isValid(cached), !Task.isCancelled { return cached.credential }
      throw error
    }
  }

  private func isFresh(_ credential: ExecCredential) -> Bool {
    credential.expiresAt.map { timeSource.wallNow + Self.renewalMargin < $0 } ?? true
  }

  private func isValid(_ credential: ExecCredential) -> Bool {
    credential.expiresAt.map { timeSource.wallNow < $0 } ?? true
  }

  private func run() async throws -> ExecCredential {
    let hasTerminal = isatty(STDIN_FILENO) == 1
    if plugin.interactiveMode == .always, !hasTerminal {
      throw failure("it needs a terminal (interactiveMode: Always), and standard input isn't one")
    }
    let isInteractive = hasTerminal && plugin.interactiveMode != .never
    var environment = environment
    for variable in plugin.environment { environment[variable.name] = variable.value }
    environment["KUBERNETES_EXEC_INFO"] = try ExecCredential.information(for: plugin, isInteractive: isInteractive)
    guard let path = ChildProcess.path(of: plugin.command, environment: environment) else {
      throw failure("the program isn't there, or isn't executable")
    }
    let process = ChildProcess(
      path: path, arguments: plugin.arguments, environment: environment, sharesStandardInput: isInteractive)
    let result: ChildProcess.Result
    do {
      guard let ended = try await process.run(timeLimit: timeLimit, timeSource: timeSource) else {
        throw failure("it did not end within \(timeLimit)")
      }
      result = ended
    } catch let error as ChildProcess.StartFailure {
      throw failure("it can't be started: \(error.reason)")
    }
    guard result.status == 0 else {
      throw failure("it ended with status \(result.status)", standardError: result.standardError)
    }
    do {
      return try ExecCredential(output: result.standardOutput, apiVersion: plugin.apiVersion)
    } catch let error as KubernetesError {
      throw failure(error.message, standardError: result.standardError)
    }
  }

  /// An error that names the plugin, says what it printed as its own error, and how to install it.
  private func failure(_ what: String, standardError: [UInt8] = []) -> KubernetesError {
    var message = "The credential plugin \(plugin.command) failed: \(what)."
    let lines = String(decoding: standardError.prefix(2000), as: UTF8.self)
      .split(whereSeparator: \.isNewline).prefix(5)
    if !lines.isEmpty { message += " It says: \(lines.joined(separator: " | "))" }
    if let hint = plugin.installHint.map({ trimmedASCIIWhitespace($0) }), !hint.isEmpty {
      message += " Hint of the kubeconfig: \(hint)"
    } else {
      message += " Run it by hand to see more, or log in anew with your provider's tool."
    }
    return misconfigured(message)
  }
}

/// The provider of the credentials that `configuration` describes.
///
/// - Parameter environment: The process's environment, for a credential plugin.
package func credentialProvider(
  for configuration: ClusterConfiguration, environment: [String: String], timeSource: any TimeSource
) -> any CredentialProvider {
  switch configuration.credentials {
  case .none: StaticCredentialProvider()
  case .bearer(let token): StaticCredentialProvider(Credential(authorization: .bearer(token)))
  case .basic(let user, let password):
    StaticCredentialProvider(Credential(authorization: .basic(user: user, password: password)))
  case .tokenFile(let path): TokenFileCredentialProvider(path: path, timeSource: timeSource)
  case .exec(let plugin): ExecCredentialProvider(plugin, environment: environment, timeSource: timeSource)
  }
}
