/// An answer of the Messages API.
public struct ClaudeAnswer: Sendable {
  /// The HTTP status, 200 to 299.
  public let status: Int
  /// The headers, names in lower case; values of the same name are joined by commas.
  public let headers: [String: String]
  /// The body: JSON.
  public let body: [UInt8]
}

/// An answer of the API that is an error, after everything that another attempt could mend was tried.
public struct ClaudeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The HTTP status; that of a stream that fails midway is 200.
  public let status: Int
  /// The kind, such as "rate_limit_error", "overloaded_error", "invalid_request_error"; empty: not the API's own form.
  public let type: String
  /// What is wrong, in the API's words or in Swarmscale's.
  public let message: String
  /// The API's name of the request, for its support; nil: it gave none.
  public let requestID: String?
  /// Whether a later attempt may succeed: a limit or an overload that outlasted `hold`.
  public var isWorthRetrying: Bool {
    status == 408 || status == 429 || status >= 500 || (status < 300 && ClaudeGateway.isTransient(type))
  }

  /// Status, kind and message.
  public var description: String { "the Claude API answered \(status) \(type): \(message)" }
}

/// One event of a stream.
public struct ClaudeEvent: Hashable, Sendable {
  /// Its name, such as "content_block_delta".
  public let name: String
  /// Its data: JSON.
  public let data: [UInt8]
}
