/// An error of the API, in the form of its documents.
package struct APIError: Error, Hashable, Sendable {
  /// HTTP status.
  package var status: Int
  /// `error.type`.
  package var type: String
  /// `error.message`.
  package var message: String
  /// `error.details.error_code`.
  package var code: String?
  /// Seconds of `retry-after`.
  package var retryAfter: Int?
  /// Value of `x-should-retry`; nil sends none.
  package var shouldRetry: Bool?
  /// Name of a page of the network in front of the API, which is sent instead of JSON and without any header of the API.
  package var page: String?
  /// Which dimension refused, for rate limits.
  package var dimension: Dimension?

  /// An error.
  package init(
    _ status: Int, _ type: String, _ message: String, code: String? = nil, retryAfter: Int? = nil,
    shouldRetry: Bool? = nil, page: String? = nil, dimension: Dimension? = nil
  ) {
    self.status = status
    self.type = type
    self.message = message
    self.code = code
    self.retryAfter = retryAfter
    self.shouldRetry = shouldRetry
    self.page = page
    self.dimension = dimension
  }

  /// What the oracle counts it as.
  package var kind: String {
    if let dimension { return dimension.rawValue }
    return code ?? (status == 429 ? type : String(status))
  }

  /// 400 `invalid_request_error`.
  package static func invalid(_ message: String) -> APIError {
    APIError(400, "invalid_request_error", message)
  }

  /// 404 `not_found_error`.
  package static func notFound(_ message: String) -> APIError {
    APIError(404, "not_found_error", message)
  }

  /// The error of a fault that has a status; nil for the others.
  package init?(_ fault: Fault) {
    switch fault {
    case .overloaded(let seconds): self.init(529, "overloaded_error", "Overloaded", retryAfter: seconds)
    case .internalError: self.init(500, "api_error", "Internal server error")
    case .unavailable: self.init(503, "api_error", "Service unavailable", shouldRetry: false)
    case .timeout: self.init(504, "timeout_error", "Request timed out")
    case .badGateway: self.init(502, "api_error", "Bad gateway", page: "502: Bad gateway")
    case .unknownGateway:
      self.init(520, "api_error", "Unknown error", page: "520: Web server is returning an unknown error")
    case .challenge: self.init(403, "permission_error", "Challenge", page: "Just a moment...")
    case .resetBeforeHeaders, .stallBeforeHeaders, .slowRead, .inStream: return nil
    }
  }
}
