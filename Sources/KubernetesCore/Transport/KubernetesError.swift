/// Something that went wrong with a request to the Kubernetes API.
///
/// Loops look at `disposition` only; `description` tells a person what happened and what to do.
package struct KubernetesError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What kind of failure it was.
  package enum Code: String, Hashable, Sendable {
    /// No connection, or it broke: DNS, TCP, reset, TLS set-up by the network.
    case unreachable
    /// No answer within the time allowed.
    case timedOut
    /// The server's certificate, or ours, was not accepted.
    case tlsRejected
    /// 400 or 422: the server refuses the request's content.
    case invalid
    /// 401: the credentials are missing, wrong or expired.
    case unauthorized
    /// 403: authenticated but not allowed.
    case forbidden
    /// 404: the object, or the kind of resource, doesn't exist.
    case notFound
    /// 405 or 406 or 415: the resource doesn't support this.
    case notSupported
    /// 409: the object has changed since it was read, or exists already.
    case conflict
    /// 410: the resource version is too old to resume from.
    case expired
    /// 429: the server asks for fewer requests.
    case tooManyRequests
    /// 500–599.
    case serverFailure
    /// The response can't be understood.
    case malformedResponse
    /// The local configuration (kubeconfig, token file, certificates, plugin) is wrong.
    case misconfigured
  }

  /// What a loop should do next.
  package enum Disposition: Hashable, Sendable {
    /// Try again, not before the given time (from the server's Retry-After) has passed; nil: by own back-off.
    case retry(after: Duration?)
    /// Read the object again, decide again.
    case reread
    /// List again from scratch.
    case relist
    /// Trying the same again won't help until somebody changes something.
    case terminal
  }

  /// What kind of failure it was.
  package var code: Code
  /// What happened, in words, and what to do about it.
  package var message: String
  /// The HTTP status, when there was a response.
  package var httpStatus: Int?
  /// The machine-readable reason of the server's `Status` object, such as `AlreadyExists`.
  package var reason: String?
  /// How long the server asked to wait.
  package var retryAfter: Duration?

  /// Makes an error.
  package init(
    _ code: Code, _ message: String, httpStatus: Int? = nil, reason: String? = nil, retryAfter: Duration? = nil
  ) {
    self.code = code
    self.message = message
    self.httpStatus = httpStatus
    self.reason = reason
    self.retryAfter = retryAfter
  }

  /// What a loop should do next.
  package var disposition: Disposition {
    switch code {
    case .unreachable, .timedOut, .tooManyRequests, .serverFailure, .malformedResponse, .unauthorized:
      .retry(after: retryAfter)
    case .conflict: .reread
    case .expired: .relist
    case .tlsRejected, .invalid, .forbidden, .notFound, .notSupported, .misconfigured: .terminal
    }
  }

  package var description: String { message }
}
