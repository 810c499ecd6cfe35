package import CoordinationProtocol

/// What a peer is known by before it says who it is.
package struct PeerCredential: Hashable, Sendable {
  /// The bearer token of its call; nil: it sent none. Never logged.
  package var token: String?
  /// Its address, as `transport:address`.
  package var address: String

  /// Makes a credential.
  package init(token: String?, address: String) {
    self.token = token
    self.address = address
  }
}

/// Who a peer is.
package struct AuthenticatedPeer: Hashable, Sendable {
  /// The pod's namespace.
  package var namespace: String
  /// The pod's name; nil: any pod of the namespace.
  package var pod: String?
  /// The pod's uid; nil: not known.
  package var uid: String?

  /// Makes a peer.
  package init(namespace: String, pod: String? = nil, uid: String? = nil) {
    self.namespace = namespace
    self.pod = pod
    self.uid = uid
  }

  /// Whether the peer may call itself `identity`.
  package func mayBe(_ identity: WorkerIdentity) -> Bool {
    namespace == identity.namespace && (pod == nil || pod == identity.pod)
      && (uid == nil || identity.uid.isEmpty || uid == identity.uid)
  }
}

/// Why a peer isn't let in.
package enum AuthenticationError: Error, Hashable, Sendable {
  /// It isn't who it says, or says nothing.
  case refused(String)
  /// It can't be told now.
  case unavailable(String)
}

/// Tells who a peer is. The controller's asks Kubernetes by a TokenReview.
package protocol Authenticator: Sendable {
  /// Who a peer is that says it is `identity`; nil: nobody asks, it is believed.
  func authenticate(
    _ credential: PeerCredential, claiming identity: WorkerIdentity
  ) async throws(AuthenticationError) -> AuthenticatedPeer?
}

/// Believes everybody: for one machine and for tests.
package struct TrustingAuthenticator: Authenticator {
  /// Makes it.
  package init() {}

  package func authenticate(
    _ credential: PeerCredential, claiming identity: WorkerIdentity
  ) async throws(AuthenticationError) -> AuthenticatedPeer? { nil }
}
