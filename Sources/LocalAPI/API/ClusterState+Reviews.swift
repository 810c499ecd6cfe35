package import KubernetesCore

/// The tokens of service accounts that were issued and are still good.
struct IssuedTokens: Sendable {
  struct Token: Sendable {
    var namespace: String
    var account: String
    var accountUID: String
    var audiences: [String]
    var podName: String?
    var podUID: String?
    var expiry: Timestamp
  }

  /// What a token for the API itself is made for.
  static let apiAudience = "https://kubernetes.default.svc"
  /// The most tokens that are remembered; the first to expire go first.
  private static let limit = 20_000

  private var tokens: [String: Token] = [:]

  mutating func add(_ token: Token, as text: String, now: Timestamp) {
    if tokens.count >= Self.limit { tokens = tokens.filter { $0.value.expiry > now } }
    if tokens.count >= Self.limit, let first = tokens.min(by: { $0.value.expiry < $1.value.expiry }) {
      tokens[first.key] = nil
    }
    tokens[text] = token
  }

  func token(_ text: String, now: Timestamp) -> Token? {
    tokens[text].flatMap { $0.expiry > now ? $0 : nil }
  }
}

extension ClusterState {
  /// The user that a bearer token of a service account stands for; nil for a token that isn't good for this API.
  package func caller(token text: String, at now: Timestamp) -> String? {
    guard let token = tokens.token(text, now: now), token.audiences.contains(IssuedTokens.apiAudience),
      isBound(token)
    else { return nil }
    return "system:serviceaccount:\(token.namespace):\(token.account)"
  }

  /// Whether the account, and the pod that a token is bound to, are still there.
  private func isBound(_ token: IssuedTokens.Token) -> Bool {
    let account = store[StoreKey(storage: "serviceaccounts", namespace: token.namespace, name: token.account)]
    guard account?[path: ["metadata", "uid"]]?.stringValue == token.accountUID else { return false }
    guard let name = token.podName else { return true }
    let pod = store[StoreKey(storage: "pods", namespace: token.namespace, name: name)]
    return pod?[path: ["metadata", "uid"]]?.stringValue == token.podUID
  }

  mutating func requestToken(
    _ place: Place, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    var request = try parseDocument(call)
    let account = try object(place)
    let spec = request["spec"] ?? [:]
    let audiences = spec["audiences"]?.arrayValue?.compactMap(\.stringValue) ?? []
    let seconds = spec["expirationSeconds"]?.intValue ?? 3_600
    guard seconds >= 600, seconds <= 1 << 32 else {
      throw .invalid(
        kind: "TokenRequest", group: "authentication.k8s.io", name: place.name ?? "",
        [.invalid("spec.expirationSeconds", .int(seconds), "may not specify a duration less than 10 minutes")])
    }
    var token = IssuedTokens.Token(
      namespace: place.namespace, account: place.name ?? "",
      accountUID: account[path: ["metadata", "uid"]]?.stringValue ?? "",
      audiences: audiences.isEmpty ? [IssuedTokens.apiAudience] : audiences, expiry: moment.now + .seconds(seconds))
    if let bound = spec["boundObjectRef"] { try bind(&token, to: bound) }
    let text =
      "local-\(Moment.hexadecimal(moment.random()))\(Moment.hexadecimal(moment.random()))"
      + "\(Moment.hexadecimal(moment.random()))\(Moment.hexadecimal(moment.random()))"
    tokens.add(token, as: text, now: moment.now)
    request["apiVersion"] = "authentication.k8s.io/v1"
    request["kind"] = "TokenRequest"
    request["spec"] = spec
    request["spec"]?["expirationSeconds"] = .int(seconds)
    request["spec"]?["audiences"] = .array(token.audiences.map { .string($0) })
    request["status"] = ["token": .string(text), "expirationTimestamp": .string(token.expiry.rfc3339)]
    return .document(status: 201, request, warnings: [])
  }

  private func bind(_ token: inout IssuedTokens.Token, to bound: JSONValue) throws(APIFailure) {
    guard bound["kind"] == "Pod", let name = bound["name"]?.stringValue else {
      throw .badRequest(
        "cannot bind token to object of type \(bound["kind"]?.stringValue?.prefix(64) ?? ""): only pods are served here"
      )
    }
    guard let type = catalog.type(storage: "pods"),
      let pod = store[StoreKey(storage: "pods", namespace: token.namespace, name: name)]
    else {
      throw APIFailure(404, "NotFound", "pods \"\(name.prefix(253))\" not found", details: [:])
    }
    let uid = pod[path: ["metadata", "uid"]]?.stringValue
    if let wanted = bound["uid"]?.stringValue, wanted != uid {
      throw .conflict(
        type, name, "the UID in the bound object reference (\(wanted)) does not match the UID in record")
    }
    token.podName = name
    token.podUID = uid
  }

  /// Answers a review: a document that is asked about and not kept.
  func review(_ place: Place, _ call: APICall, _ now: Timestamp) throws(APIFailure) -> APIAnswer {
    var document = try parseDocument(call)
    guard document.objectValue != nil, document["kind"] == nil || document["kind"]?.stringValue == place.type.kind
    else {
      throw .badRequest("the object is not a \(place.type.kind)")
    }
    document["apiVersion"] = .string(place.type.apiVersion)
    document["kind"] = .string(place.type.kind)
    document["metadata"] = document["metadata"] ?? [:]
    if place.type.kind == "TokenReview" {
      let text = document[path: ["spec", "token"]]?.stringValue ?? ""
      guard !text.isEmpty else { throw .badRequest("token is required for TokenReview in authentication") }
      let wanted = document[path: ["spec", "audiences"]]?.arrayValue?.compactMap(\.stringValue) ?? []
      document["status"] = status(ofToken: text, wanted.isEmpty ? [IssuedTokens.apiAudience] : wanted, now)
    } else {
      let spec = document["spec"] ?? [:]
      guard spec["resourceAttributes"] != nil || spec["nonResourceAttributes"] != nil else {
        throw .invalid(
          kind: place.type.kind, group: place.type.group,
          [
            .invalid(
              "spec.resourceAttributes", spec,
              "exactly one of nonResourceAttributes or resourceAttributes must be specified")
          ])
      }
      // Whoever got in may do everything: it is the user's own machine.
      document["status"] = ["allowed": true, "reason": "the local cluster allows everything to whoever may enter"]
    }
    return .document(status: 201, document, warnings: [])
  }

  private func status(ofToken text: String, _ wanted: [String], _ now: Timestamp) -> JSONValue {
    guard let token = tokens.token(text, now: now), isBound(token) else {
      return ["user": [:], "error": "the token is none of this server's, or has expired"]
    }
    let audiences = token.audiences.filter { wanted.contains($0) }
    guard !audiences.isEmpty else {
      return [
        "user": [:],
        "error": .string("token audiences \(token.audiences) is invalid for the target audiences \(wanted)"),
      ]
    }
    var user: JSONValue = [
      "username": .string("system:serviceaccount:\(token.namespace):\(token.account)"),
      "uid": .string(token.accountUID),
      "groups": [
        "system:serviceaccounts", .string("system:serviceaccounts:\(token.namespace)"), "system:authenticated",
      ],
    ]
    if let name = token.podName, let uid = token.podUID {
      user["extra"] = [
        "authentication.kubernetes.io/pod-name": [.string(name)],
        "authentication.kubernetes.io/pod-uid": [.string(uid)],
      ]
    }
    return ["authenticated": true, "user": user, "audiences": .array(audiences.map { .string($0) })]
  }
}
