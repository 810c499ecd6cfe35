/// One request to the Kubernetes API as a value: it can be printed, compared, scripted and replayed.
package struct APIRequest: Hashable, Sendable {
  /// The HTTP method.
  package enum Method: String, Hashable, Sendable {
    case get = "GET"
    case post = "POST"
    case put = "PUT"
    case patch = "PATCH"
    case delete = "DELETE"
  }

  /// How urgent a request is when the server is slow or the client is at its limit of requests in flight.
  ///
  /// A write of `/scale` must not queue behind ten thousand status updates, and events come last.
  package enum Priority: Int, Hashable, Comparable, Sendable, CaseIterable {
    /// Events: may be dropped or late.
    case event
    /// Status writes.
    case status
    /// Reads, lists and watches.
    case read
    /// Writes of scale and of leases.
    case write

    package static func < (lhs: Priority, rhs: Priority) -> Bool { lhs.rawValue < rhs.rawValue }
  }

  /// The HTTP method.
  package var method: Method
  /// The absolute path without the query, percent-encoded, beginning with `/`.
  package var path: String
  /// Query items in order; names and values are not yet percent-encoded.
  package var query: [QueryItem]
  /// Further header fields; credentials are added by the client, never here.
  package var headers: [HeaderField]
  /// The body, if any.
  package var body: [UInt8]?
  /// How urgent the request is.
  package var priority: Priority
  /// The longest time from sending until the whole response is there (for a stream: until its head is there).
  package var timeout: Duration
  /// The longest silence within a stream's body before it counts as half-open; nil for no limit.
  package var idleTimeout: Duration?
  /// The most bytes that a collected response body may have.
  package var maximumResponseBytes: Int

  /// One `name=value` item of a query.
  package struct QueryItem: Hashable, Sendable {
    /// The name, not percent-encoded.
    package var name: String
    /// The value, not percent-encoded.
    package var value: String

    /// Makes an item from a name and a value that are not percent-encoded.
    package init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// One header field.
  package struct HeaderField: Hashable, Sendable {
    /// The field's name; compared without regard to case.
    package var name: String
    /// The field's value.
    package var value: String

    /// Makes a header field.
    package init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// Makes a request; the defaults suit a small read.
  package init(
    method: Method = .get,
    path: String,
    query: [QueryItem] = [],
    headers: [HeaderField] = [],
    body: [UInt8]? = nil,
    priority: Priority = .read,
    timeout: Duration = .seconds(30),
    idleTimeout: Duration? = nil,
    maximumResponseBytes: Int = 64 << 20
  ) {
    self.method = method
    self.path = path
    self.query = query
    self.headers = headers
    self.body = body
    self.priority = priority
    self.timeout = timeout
    self.idleTimeout = idleTimeout
    self.maximumResponseBytes = maximumResponseBytes
  }
}
