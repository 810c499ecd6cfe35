package import KubernetesCore

/// One request to the API, without its transport.
package struct APICall: Sendable {
  /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
  package var method: String
  /// The path, decoded, without the query.
  package var path: String
  /// The query, decoded, in order.
  package var query: [(name: String, value: String)]
  /// The media types that the client takes.
  package var accept: String
  /// The media type of the body.
  package var contentType: String
  /// The client's name and version; names the field manager where the query doesn't.
  package var userAgent: String
  /// The body.
  package var body: [UInt8]
  /// Who asks.
  package var caller: String

  /// Makes a request.
  package init(
    _ method: String, _ path: String, query: [(name: String, value: String)] = [], accept: String = "application/json",
    contentType: String = "application/json", userAgent: String = "", body: [UInt8] = [], caller: String = "admin"
  ) {
    self.method = method
    self.path = path
    self.query = query
    self.accept = accept
    self.contentType = contentType
    self.userAgent = userAgent
    self.body = body
    self.caller = caller
  }

  /// The first value of a query parameter.
  package subscript(name: String) -> String? { query.first { $0.name == name }?.value }

  /// Whether a query parameter says yes.
  func isSet(_ name: String) -> Bool { ["true", "1", ""].contains(self[name] ?? "false") }

  /// The name under which fields are owned: the query's, or the program's name, as in the API server.
  var fieldManager: String {
    if let manager = self["fieldManager"], !manager.isEmpty { return String(manager.prefix(128)) }
    let program = userAgent.prefix { $0 != "/" }
    return program.isEmpty ? "unknown" : String(program.prefix(128))
  }

  /// The media type of the body without its parameters.
  var bodyType: String {
    contentType.prefix { $0 != ";" }.trimmingSpaces.lowercased()
  }
}

extension Substring {
  fileprivate var trimmingSpaces: String {
    String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}

/// What a request is answered with.
package enum APIAnswer: Sendable {
  /// A document; `warnings` go into headers of that name.
  case document(status: Int, JSONValue, warnings: [String])
  /// A text.
  case text(status: Int, String)
  /// A stream of changes.
  case watch(WatchRequest)
  /// A container's log, which its source gives.
  case log(LogRequest)
  /// Measured usage, which its source gives.
  case metrics(MetricsRequest)
  /// Values of a metric from outside, which its source gives.
  case external(ExternalMetricsRequest)
}

/// Which log a client asks for.
package struct LogRequest: Sendable, Hashable {
  /// The pod's namespace.
  package var namespace: String
  /// The pod's name.
  package var pod: String
  /// The container's name.
  package var container: String
  /// Whether to go on with what is written later.
  package var follow: Bool
  /// Whether the container's run before this one is meant.
  package var previous: Bool
  /// Only so many lines from the end; nil for all.
  package var tailLines: Int?
  /// At most so many bytes; nil for all.
  package var limitBytes: Int?
  /// Only what was written in so many last seconds; nil for all.
  package var sinceSeconds: Int?
  /// Only what was written since a moment; nil for all.
  package var sinceTime: Timestamp?
  /// Whether each line begins with its time.
  package var timestamps: Bool
}

/// Which usage a client asks for.
package struct MetricsRequest: Sendable {
  /// Whether nodes are meant, and not pods.
  package var isNodes: Bool
  /// The namespace of pods; nil for all.
  package var namespace: String?
  /// The name of one object; nil for a list.
  package var name: String?
  /// The objects that are there and match: for each the key `namespace/name`, with its labels.
  package var candidates: [String: [String: String]]
}

/// Which changes a client watches.
package struct WatchRequest: Sendable {
  /// The type as the client named it.
  package var type: ResourceType
  /// The namespace; nil for all.
  package var namespace: String?
  /// What labels must match.
  package var labels: Selector
  /// What fields must match.
  package var fields: FieldSelector
  /// Changes after this version are sent.
  package var version: UInt64
  /// The objects that are there, to be sent first.
  package var initial: [JSONValue]
  /// Whether the client wants to be told the version now and then.
  package var wantsBookmarks: Bool
  /// After which time the server ends the stream; nil for its own choice.
  package var timeout: Duration?
  /// How objects are shown.
  package var form: ObjectForm
  /// Whether an initial list is to end with a bookmark that says so (`sendInitialEvents`).
  package var endsInitialWithBookmark = false
}

/// How a client wants objects to be shown.
package enum ObjectForm: Sendable, Hashable {
  /// As they are.
  case whole
  /// Their metadata alone.
  case metadata
  /// As rows; with the object, its metadata or nothing in each row.
  case table(includeObject: String)

  /// What the `Accept` header asks for; the first form that is known.
  init(accept: String, includeObject: String?) {
    for part in accept.split(separator: ",") {
      if part.contains("as=Table") {
        self = .table(includeObject: includeObject ?? "Metadata")
        return
      }
      if part.contains("as=PartialObjectMetadata") {
        self = .metadata
        return
      }
      if part.contains("json") || part.contains("*/*") { break }
    }
    self = .whole
  }
}
