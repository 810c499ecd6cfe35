package import CoordinationProtocol
package import Coordinator
import Crypto
package import KubernetesCore
package import KubernetesRuntime
import Synchronization

/// Tells who a worker is by asking Kubernetes about the projected service-account token that it shows.
///
/// A token that is bound to a pod names it; another (of a service account, or of a server before 1.21 without bound
/// tokens) only proves the namespace. Answers are remembered, by the token's digest: the token itself is kept nowhere.
package final class TokenReviewAuthenticator: Authenticator {
  /// The audience that tokens must be made for.
  package static let audience = "swarmscale.dev"
  /// How long an answer is remembered; a deleted pod's token may be good for that long. Kubernetes' own authenticators
  /// of webhooks remember for two minutes (`--authentication-token-webhook-cache-ttl`).
  private static let memory = Duration.seconds(120)
  /// How long a refusal is remembered: a pod that is begun anew with a good token must not wait.
  private static let refusalMemory = Duration.seconds(10)
  private static let memoryLimit = 20_000

  private static let resource = GroupVersionResource(
    group: "authentication.k8s.io", version: "v1", resource: "tokenreviews")

  private struct Answer {
    var result: Result<AuthenticatedPeer, AuthenticationError>
    var until: MonotonicTime
  }

  private let client: APIClient
  private let time: any TimeSource
  private let answers = Mutex<[[UInt8]: Answer]>([:])

  /// Makes an authenticator that asks by `client`.
  package init(client: APIClient, time: any TimeSource) {
    self.client = client
    self.time = time
  }

  package func authenticate(
    _ credential: PeerCredential, claiming identity: WorkerIdentity
  ) async throws(AuthenticationError) -> AuthenticatedPeer? {
    guard let token = credential.token, !token.isEmpty else {
      throw .refused(
        "no token was shown; mount a projected service-account token with the audience \(Self.audience) and name it in "
          + "SWARMSCALE_TOKEN_FILE")
    }
    let digest = Array(SHA256.hash(data: Array(token.utf8)))
    let now = time.monotonicNow
    let known = answers.withLock { answers in answers[digest].flatMap { $0.until > now ? $0 : nil } }
    if let known { return try known.result.get() }
    let result: Result<AuthenticatedPeer, AuthenticationError>
    do throws(AuthenticationError) {
      result = .success(try await review(token))
    } catch {
      result = .failure(error)
    }
    remember(result, digest)
    return try result.get()
  }

  private func remember(_ result: Result<AuthenticatedPeer, AuthenticationError>, _ digest: [UInt8]) {
    let now = time.monotonicNow
    let memory: Duration
    switch result {
    case .success: memory = Self.memory
    case .failure(.refused): memory = Self.refusalMemory
    // It may be told with the next try.
    case .failure(.unavailable): return
    }
    answers.withLock { answers in
      if answers.count >= Self.memoryLimit { answers = answers.filter { $0.value.until > now } }
      guard answers.count < Self.memoryLimit else { return }
      answers[digest] = Answer(result: result, until: now + memory)
    }
  }

  private func review(_ token: String) async throws(AuthenticationError) -> AuthenticatedPeer {
    let answer: JSONValue
    do {
      let body = try KubernetesJSON.encode(
        JSONValue.object([
          "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
          "spec": .object(["token": .string(token), "audiences": .array([.string(Self.audience)])]),
        ]))
      answer = try await client.send(.create(Self.resource, body: body), as: JSONValue.self)
    } catch let error as KubernetesError {
      throw .unavailable("the token can't be reviewed now: \(error.message)")
    } catch {
      throw .unavailable("the token can't be reviewed now: the answer of the Kubernetes API can't be read")
    }
    return try peer(answer["status"] ?? .null)
  }

  private func peer(_ status: JSONValue) throws(AuthenticationError) -> AuthenticatedPeer {
    guard status["authenticated"]?.boolValue == true,
      // A server that doesn't know audiences names none: then the token is one for the API server itself.
      status["audiences"]?.arrayValue?.contains(.string(Self.audience)) == true
    else {
      throw .refused(
        "Kubernetes doesn't accept the token for the audience \(Self.audience); check the pod's projected token")
    }
    let account = "system:serviceaccount:"
    guard let name = status[path: ["user", "username"]]?.stringValue, name.hasPrefix(account),
      let namespace = name.dropFirst(account.count).split(separator: ":").first
    else { throw .refused("the token isn't a service account's") }
    return AuthenticatedPeer(
      namespace: String(namespace), pod: extra(status, "authentication.kubernetes.io/pod-name"),
      uid: extra(status, "authentication.kubernetes.io/pod-uid"))
  }

  private func extra(_ status: JSONValue, _ key: String) -> String? {
    status[path: ["user", "extra", key, "0"]]?.stringValue
  }
}
