import KubernetesCore
import Testing

@Suite("API requests")
struct RequestTests {
  static let deployments = GroupVersionResource(group: "apps", version: "v1", resource: "deployments")
  static let web = ObjectKey(namespace: "shop", name: "web")

  @Test("A list asks for what its options say, percent-encoded")
  func lists() throws {
    let request = try APIRequest.list(
      Pod.resource, namespace: "shop",
      ListOptions(
        labelSelector: try Selector("app in (a,b)"), fieldSelector: "spec.nodeName=n 1", limit: 500,
        resourceVersion: "7",
        resourceVersionMatch: .notOlderThan), encoding: .protobuf)
    #expect(
      request.target
        == "/api/v1/namespaces/shop/pods?labelSelector=app%20in%20%28a%2Cb%29&fieldSelector=spec.nodeName%3Dn%201"
        + "&limit=500&resourceVersion=7&resourceVersionMatch=NotOlderThan")
    #expect(request.method == .get)
    #expect(
      request.headers == [.init("Accept", "application/vnd.kubernetes.protobuf, application/json;q=0.5")])
  }

  @Test("A following page sends the token and no version")
  func continues() throws {
    let request = try APIRequest.list(
      Pod.resource, ListOptions(limit: 2, continueToken: "a/b+c=", resourceVersion: "7"))
    #expect(request.target == "/api/v1/pods?limit=2&continue=a%2Fb%2Bc%3D")
  }

  @Test("A watch asks for bookmarks and carries its idle limit")
  func watches() throws {
    let request = try APIRequest.watch(
      Self.deployments, namespace: "shop",
      WatchOptions(resourceVersion: "42", timeout: .seconds(300), idleTimeout: .seconds(150)))
    #expect(
      request.target == "/apis/apps/v1/namespaces/shop/deployments?watch=true&allowWatchBookmarks=true"
        + "&resourceVersion=42&timeoutSeconds=300")
    #expect(request.idleTimeout == .seconds(150))
  }

  @Test("Subresources, dry runs and field managers stand where the server expects them")
  func writes() throws {
    let replace = try APIRequest.replace(
      Self.deployments, Self.web, .scale, body: [1], WriteOptions(fieldManager: "swarmscale", isDryRun: true))
    #expect(
      replace.target == "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=swarmscale&dryRun=All")
    #expect(replace.method == .put)
    #expect(replace.priority == .write)
    let create = try APIRequest.create(CoreEvent.resource, namespace: "shop", body: [2], WriteOptions(priority: .event))
    #expect(create.target == "/api/v1/namespaces/shop/events")
    #expect(create.priority == .event)
    #expect(
      try APIRequest.get(Lease.resource, Self.web).path == "/apis/coordination.k8s.io/v1/namespaces/shop/leases/web")
  }

  @Test(
    "Each kind of patch has its media type",
    arguments: [
      (PatchBody.json([]), "application/json-patch+json"), (.merge([]), "application/merge-patch+json"),
      (.strategicMerge([]), "application/strategic-merge-patch+json"),
      (.apply([], force: true), "application/apply-patch+yaml"),
    ])
  func patches(_ patch: PatchBody, _ mediaType: String) throws {
    let request = try APIRequest.patch(Self.deployments, Self.web, .status, patch, WriteOptions(fieldManager: "me"))
    #expect(request.headers.contains(.init("Content-Type", mediaType)))
    #expect(request.query.contains(.init("force", "true")) == (patch == .apply([], force: true)))
    #expect(request.path.hasSuffix("/web/status"))
  }

  @Test("Server-side apply without a field manager is refused")
  func applyNeedsManager() {
    #expect(throws: KubernetesError.self) {
      try APIRequest.patch(Self.deployments, Self.web, nil, .apply([], force: false))
    }
  }

  @Test("A delete carries its preconditions in the body")
  func deletes() throws {
    let request = try APIRequest.delete(
      Pod.resource, Self.web,
      DeleteOptions(gracePeriod: .seconds(30), uid: "u", resourceVersion: "9", propagation: .background))
    #expect(
      String(decoding: request.body ?? [], as: UTF8.self)
        == #"{"apiVersion":"v1","gracePeriodSeconds":30,"kind":"DeleteOptions","preconditions":{"resourceVersion":"9","uid":"u"},"propagationPolicy":"Background"}"#
    )
  }

  @Test("Names that would reach another path are refused", arguments: ["", ".", "..", "a/b", "../secrets", "a%2fb"])
  func refusesNames(_ name: String) {
    #expect(throws: KubernetesError.self) {
      try APIRequest.get(Pod.resource, ObjectKey(namespace: "shop", name: name))
    }
    if !name.isEmpty {
      #expect(throws: KubernetesError.self) { try APIRequest.list(Pod.resource, namespace: name) }
    }
  }
}

@Suite("Errors from responses")
struct ErrorTests {
  static let request = APIRequest(method: .put, path: "/apis/apps/v1/namespaces/shop/deployments/web/scale")

  static func error(
    _ status: Int, _ body: String = "", _ headers: [APIRequest.HeaderField] = []
  ) -> KubernetesError {
    KubernetesError(
      response: APIResponse(head: APIResponseHead(status: status, headers: headers), body: Array(body.utf8)),
      request: request)
  }

  @Test(
    "Each status has its code",
    arguments: [
      (400, KubernetesError.Code.invalid), (401, .unauthorized), (403, .forbidden), (404, .notFound),
      (405, .notSupported), (409, .conflict), (410, .expired), (415, .notSupported), (422, .invalid),
      (429, .tooManyRequests), (500, .serverFailure), (503, .serverFailure), (504, .serverFailure),
    ])
  func codes(_ status: Int, _ code: KubernetesError.Code) {
    let error = Self.error(status)
    #expect(error.code == code)
    #expect(error.httpStatus == status)
    #expect(error.message.contains("PUT /apis/apps/v1/namespaces/shop/deployments/web/scale"))
  }

  @Test("A conflict tells which of its two kinds it is by its reason")
  func conflicts() {
    let exists = Self.error(
      409,
      #"{"kind":"Status","status":"Failure","message":"leases \"a\" already exists","reason":"AlreadyExists","code":409}"#
    )
    #expect(exists.code == .conflict)
    #expect(exists.reason == "AlreadyExists")
    let changed = Self.error(409, #"{"status":"Failure","message":"modified","reason":"Conflict","code":409}"#)
    #expect(changed.disposition == .reread)
    #expect(changed.message.contains("read it again"))
  }

  @Test("A 422 lists the fields at fault")
  func lists422() {
    let error = Self.error(
      422,
      #"{"status":"Failure","message":"x is invalid","reason":"Invalid","details":{"causes":[{"field":"spec.replicas","message":"must be at least 0"},{"field":"spec.x","message":"unknown"}]},"code":422}"#
    )
    #expect(error.message.contains("spec.replicas: must be at least 0"))
    #expect(error.message.contains("spec.x: unknown"))
  }

  @Test("A 403 repeats the server's words and says what to grant")
  func explains403() {
    let error = Self.error(
      403,
      #"{"status":"Failure","message":"deployments.apps \"web\" is forbidden: User \"sa\" cannot patch resource \"deployments/scale\"","reason":"Forbidden","code":403}"#
    )
    #expect(error.message.contains(#"cannot patch resource "deployments/scale""#))
    #expect(error.message.contains("Role"))
    #expect(error.disposition == .terminal)
  }

  @Test("Retry-After is read in seconds, as a date, and from the details; the header wins")
  func retryAfter() {
    let details = #"{"status":"Failure","details":{"retryAfterSeconds":7},"code":429}"#
    #expect(Self.error(429, "", [.init("retry-after", "3")]).retryAfter == .seconds(3))
    #expect(Self.error(429, details).retryAfter == .seconds(7))
    #expect(Self.error(429, details, [.init("Retry-After", "2")]).retryAfter == .seconds(2))
    #expect(
      Self.error(
        503, "",
        [
          .init("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), .init("Retry-After", "Sun, 06 Nov 1994 08:50:07 GMT"),
        ]
      ).retryAfter == .seconds(30))
    #expect(Self.error(503, "", [.init("Retry-After", "soon")]).retryAfter == nil)
    #expect(Self.error(503, "", [.init("Retry-After", "999999999")]).retryAfter == .seconds(3_600))
    #expect(Self.error(429, details).disposition == .retry(after: .seconds(7)))
  }

  @Test("Bodies are cut, made one line, and lose bearer tokens")
  func bounds() {
    let long = Self.error(502, "<html>\n\u{1b}[31m" + String(repeating: "x", count: 100_000))
    #expect(long.message.count < 500)
    #expect(!long.message.contains("\n") && !long.message.contains("\u{1b}"))
    let leak = Self.error(500, "sent Authorization: Bearer abc.def.ghi to upstream")
    #expect(!leak.message.contains("abc.def"))
    #expect(leak.message.contains("upstream"))
  }
}
