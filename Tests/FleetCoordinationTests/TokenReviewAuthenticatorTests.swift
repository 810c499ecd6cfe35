import CoordinationProtocol
import Coordinator
import KubernetesCore
import KubernetesRuntime
import TestSupport
import Testing

@testable import FleetCoordination

@Suite struct TokenReviewAuthenticatorTests {
  private static let path = "/apis/authentication.k8s.io/v1/tokenreviews"
  private let transport = ScriptedTransport()
  private let time = ManualTimeSource()

  private var authenticator: TokenReviewAuthenticator {
    TokenReviewAuthenticator(
      client: APIClient(transport: transport, time: time, retryPolicy: RetryPolicy(), random: { 0 }), time: time)
  }

  private func answer(_ status: String) -> ScriptedTransport.Answer {
    .json(#"{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{},"status":\#(status)}"#, status: 201)
  }

  private func accepted(namespace: String = "team", pod: String = "a") -> ScriptedTransport.Answer {
    answer(
      #"""
      {"authenticated":true,"audiences":["swarmscale.dev"],"user":{"username":"system:serviceaccount:\#(namespace):default",
       "extra":{"authentication.kubernetes.io/pod-name":["\#(pod)"],"authentication.kubernetes.io/pod-uid":["uid-\#(pod)"]}}}
      """#)
  }

  private func credential(_ token: String?) -> PeerCredential { PeerCredential(token: token, address: "ipv4:10.0.0.1") }

  @Test("A pod's token names the pod; the answer is remembered for two minutes, and the token in no request twice")
  func accepts() async throws {
    transport.expect(.post, Self.path, times: 2, accepted())
    let authenticator = self.authenticator
    for _ in 0..<3 {
      let peer = try await authenticator.authenticate(credential("secret-token"), claiming: worker("a"))
      #expect(peer == AuthenticatedPeer(namespace: "team", pod: "a", uid: "uid-a"))
      #expect(peer?.mayBe(worker("a")) == true)
      #expect(peer?.mayBe(worker("b")) == false)
      #expect(peer?.mayBe(worker("a", namespace: "elsewhere")) == false)
    }
    #expect(transport.requests.count == 1)
    let body = String(decoding: transport.requests[0].body ?? [], as: UTF8.self)
    #expect(body.contains(#""audiences":["swarmscale.dev"]"#) && body.contains(#""token":"secret-token""#))
    time.advance(by: .seconds(121))
    _ = try await authenticator.authenticate(credential("secret-token"), claiming: worker("a"))
    #expect(transport.requests.count == 2)
  }

  @Test(
    "What Kubernetes doesn't accept for this audience isn't let in",
    arguments: [
      #"{"authenticated":false,"error":"expired"}"#, "{}",
      #"{"authenticated":true,"user":{"username":"system:serviceaccount:team:default"}}"#,
      #"{"authenticated":true,"audiences":["https://kubernetes.default.svc"],"user":{"username":"system:serviceaccount:team:default"}}"#,
      #"{"authenticated":true,"audiences":["swarmscale.dev"],"user":{"username":"alice"}}"#,
    ])
  func refuses(_ status: String) async throws {
    transport.expect(.post, Self.path, times: 1, answer(status))
    let authenticator = self.authenticator
    for _ in 0..<2 {
      await #expect {
        try await authenticator.authenticate(credential("secret-token"), claiming: worker("a"))
      } throws: { error in
        guard case .refused(let why)? = error as? AuthenticationError else { return false }
        return !why.contains("secret-token")
      }
    }
  }

  @Test("Without a token nobody is asked")
  func missing() async {
    await #expect {
      try await authenticator.authenticate(credential(nil), claiming: worker("a"))
    } throws: { "\($0)".contains("SWARMSCALE_TOKEN_FILE") }
    #expect(transport.requests.isEmpty)
  }

  @Test("A review that can't be made now is no refusal, and isn't remembered")
  func unavailable() async throws {
    transport.expect(.post, Self.path, times: 1, .status(403, reason: "Forbidden", message: "no secret-token here"))
    transport.expect(.post, Self.path, times: 1, accepted())
    let authenticator = self.authenticator
    await #expect {
      try await authenticator.authenticate(credential("secret-token"), claiming: worker("a"))
    } throws: { error in
      if case .unavailable? = error as? AuthenticationError { true } else { false }
    }
    #expect(try await authenticator.authenticate(credential("secret-token"), claiming: worker("a")) != nil)
  }
}
