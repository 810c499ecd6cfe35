/// Which objects a list returns, and how fresh they must be.
package struct ListOptions: Hashable, Sendable {
  /// How `resourceVersion` is meant.
  package enum VersionMatch: String, Hashable, Sendable {
    /// Exactly the version given.
    case exact = "Exact"
    /// The version given or any newer one.
    case notOlderThan = "NotOlderThan"
  }

  /// Only objects with matching labels; nil for all.
  package var labelSelector: Selector?
  /// Only objects with matching fields, such as `spec.nodeName=a`; nil for all.
  package var fieldSelector: String?
  /// The most objects of one page; nil for all at once.
  package var limit: Int?
  /// The token of the page before; nil for the first page.
  package var continueToken: String?
  /// nil: the newest state, read with a quorum; `0`: whatever the server has in memory.
  package var resourceVersion: String?
  /// How `resourceVersion` is meant; nil for the server's default.
  package var resourceVersionMatch: VersionMatch?

  /// Makes options; what isn't given is unrestricted.
  package init(
    labelSelector: Selector? = nil, fieldSelector: String? = nil, limit: Int? = nil, continueToken: String? = nil,
    resourceVersion: String? = nil, resourceVersionMatch: VersionMatch? = nil
  ) {
    self.labelSelector = labelSelector
    self.fieldSelector = fieldSelector
    self.limit = limit
    self.continueToken = continueToken
    self.resourceVersion = resourceVersion
    self.resourceVersionMatch = resourceVersionMatch
  }
}

/// What a watch reports and for how long.
package struct WatchOptions: Hashable, Sendable {
  /// Only objects with matching labels; nil for all.
  package var labelSelector: Selector?
  /// Only objects with matching fields; nil for all.
  package var fieldSelector: String?
  /// The version after which to begin.
  package var resourceVersion: String
  /// After which time the server should end the stream; nil for the server's choice.
  package var timeout: Duration?
  /// The longest silence before the client counts the stream as half-open; nil for no limit.
  package var idleTimeout: Duration?

  /// Makes options. Bookmarks are always asked for.
  package init(
    resourceVersion: String, labelSelector: Selector? = nil, fieldSelector: String? = nil, timeout: Duration? = nil,
    idleTimeout: Duration? = nil
  ) {
    self.resourceVersion = resourceVersion
    self.labelSelector = labelSelector
    self.fieldSelector = fieldSelector
    self.timeout = timeout
    self.idleTimeout = idleTimeout
  }
}

/// How a write is done.
package struct WriteOptions: Hashable, Sendable {
  /// Who writes, for `managedFields`; nil for the server's guess from the user agent.
  package var fieldManager: String?
  /// Whether the server should check everything and store nothing.
  package var isDryRun: Bool
  /// How urgent the write is.
  package var priority: APIRequest.Priority

  /// Makes options.
  package init(fieldManager: String? = nil, isDryRun: Bool = false, priority: APIRequest.Priority = .write) {
    self.fieldManager = fieldManager
    self.isDryRun = isDryRun
    self.priority = priority
  }
}

/// How an object is deleted.
package struct DeleteOptions: Hashable, Sendable {
  /// What becomes of the objects it owns.
  package enum Propagation: String, Hashable, Sendable {
    case orphan = "Orphan"
    case background = "Background"
    case foreground = "Foreground"
  }

  /// The time the object gets to end; nil for its own default.
  package var gracePeriod: Duration?
  /// Delete only the object with this identity.
  package var uid: String?
  /// Delete only in this version.
  package var resourceVersion: String?
  /// What becomes of the objects it owns; nil for the kind's default.
  package var propagation: Propagation?
  /// Whether the server should check everything and delete nothing.
  package var isDryRun: Bool

  /// Makes options.
  package init(
    gracePeriod: Duration? = nil, uid: String? = nil, resourceVersion: String? = nil, propagation: Propagation? = nil,
    isDryRun: Bool = false
  ) {
    self.gracePeriod = gracePeriod
    self.uid = uid
    self.resourceVersion = resourceVersion
    self.propagation = propagation
    self.isDryRun = isDryRun
  }
}

/// The kind and content of a patch.
package enum PatchBody: Hashable, Sendable {
  /// RFC 6902 operations.
  case json([UInt8])
  /// RFC 7386 merge.
  case merge([UInt8])
  /// Kubernetes' own merge by list keys; built-in kinds only.
  case strategicMerge([UInt8])
  /// Server-side apply; the write options must name a field manager. `force` takes fields from other managers.
  case apply([UInt8], force: Bool)
}

/// A part of an object that is read and written by itself.
package enum Subresource: String, Hashable, Sendable {
  case status
  case scale
  case eviction
}

/// The encoding in which a response is asked for.
package enum ResponseEncoding: Hashable, Sendable {
  /// JSON.
  case json
  /// Kubernetes' protobuf, or JSON where a kind (a custom resource) or server doesn't have it; look at `Content-Type`.
  case protobuf

  /// The media type of Kubernetes' protobuf.
  package static let protobufMediaType = "application/vnd.kubernetes.protobuf"

  var accept: String {
    switch self {
    case .json: "application/json"
    case .protobuf: "\(Self.protobufMediaType), application/json;q=0.5"
    }
  }
}
