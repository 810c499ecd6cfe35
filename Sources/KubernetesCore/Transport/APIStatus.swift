/// What the server says about a request that failed, or that returns no object (`metav1.Status`).
package struct APIStatus: Hashable, Sendable, Codable {
  /// `Success` or `Failure`.
  package var status: String
  /// What happened, in words.
  package var message: String
  /// A machine-readable word, such as `AlreadyExists`.
  package var reason: String
  /// Further data on the reason.
  package var details: Details?
  /// The HTTP status.
  package var code: Int

  /// Further data on the reason of a status.
  package struct Details: Hashable, Sendable, Codable {
    /// The name of the object.
    package var name: String
    /// The group of the object.
    package var group: String
    /// The kind (or plural resource name) of the object.
    package var kind: String
    /// The identity of the object.
    package var uid: String
    /// The single faults.
    package var causes: [Cause]
    /// How long to wait before trying again; 0 for unsaid.
    package var retryAfterSeconds: Int32

    /// Makes details.
    package init(
      name: String = "", group: String = "", kind: String = "", uid: String = "", causes: [Cause] = [],
      retryAfterSeconds: Int32 = 0
    ) {
      self.name = name
      self.group = group
      self.kind = kind
      self.uid = uid
      self.causes = causes
      self.retryAfterSeconds = retryAfterSeconds
    }

    package init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      name = try container.decode(.name, default: "")
      group = try container.decode(.group, default: "")
      kind = try container.decode(.kind, default: "")
      uid = try container.decode(.uid, default: "")
      causes = try container.decode(.causes, default: [])
      retryAfterSeconds = try container.decode(.retryAfterSeconds, default: 0)
    }
  }

  /// One fault of a request.
  package struct Cause: Hashable, Sendable, Codable {
    /// A machine-readable word, such as `FieldValueInvalid`.
    package var reason: String
    /// The fault, in words.
    package var message: String
    /// The field, such as `spec.replicas`.
    package var field: String

    /// Makes a cause.
    package init(reason: String = "", message: String = "", field: String = "") {
      self.reason = reason
      self.message = message
      self.field = field
    }

    package init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      reason = try container.decode(.reason, default: "")
      message = try container.decode(.message, default: "")
      field = try container.decode(.field, default: "")
    }
  }

  private enum CodingKeys: String, CodingKey { case apiVersion, kind, status, message, reason, details, code }

  /// Makes a status.
  package init(
    status: String = "Failure", message: String = "", reason: String = "", details: Details? = nil, code: Int = 0
  ) {
    self.status = status
    self.message = message
    self.reason = reason
    self.details = details
    self.code = code
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    status = try container.decode(.status, default: "")
    message = try container.decode(.message, default: "")
    reason = try container.decode(.reason, default: "")
    details = try container.decodeOptional(.details)
    code = try container.decode(.code, default: 0)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode("v1", forKey: .apiVersion)
    try container.encode("Status", forKey: .kind)
    try container.encode(status, forKey: .status)
    try container.encodeUnlessEmpty(message, forKey: .message)
    try container.encodeUnlessEmpty(reason, forKey: .reason)
    try container.encodeIfPresent(details, forKey: .details)
    try container.encode(code, forKey: .code)
  }

  /// Whether a version is too old: the only way on is to list again.
  package var isExpired: Bool { code == 410 || reason == "Expired" || reason == "Gone" }
}
