// Builders throw `.invalid` for a name that can't stand in a path: an object called `../secrets` must not reach another
// resource.

extension APIRequest {
  /// Lists objects of a kind; `namespace` nil for all namespaces and for cluster-scoped kinds.
  package static func list(
    _ resource: GroupVersionResource, namespace: String? = nil, _ options: ListOptions = ListOptions(),
    encoding: ResponseEncoding = .json
  ) throws(KubernetesError) -> APIRequest {
    var query = selection(labels: options.labelSelector, fields: options.fieldSelector)
    if let limit = options.limit { query.append(QueryItem("limit", String(limit))) }
    if let token = options.continueToken {
      // A continue token carries the version; the server refuses both together.
      query.append(QueryItem("continue", token))
    } else {
      if let version = options.resourceVersion { query.append(QueryItem("resourceVersion", version)) }
      if let match = options.resourceVersionMatch {
        query.append(QueryItem("resourceVersionMatch", match.rawValue))
      }
    }
    return APIRequest(
      path: try collectionPath(resource, namespace: namespace), query: query,
      headers: [HeaderField("Accept", encoding.accept)], timeout: .seconds(60), maximumResponseBytes: 256 << 20)
  }

  /// Watches objects of a kind; `namespace` nil for all namespaces and for cluster-scoped kinds.
  package static func watch(
    _ resource: GroupVersionResource, namespace: String? = nil, _ options: WatchOptions,
    encoding: ResponseEncoding = .json
  ) throws(KubernetesError) -> APIRequest {
    var query = selection(labels: options.labelSelector, fields: options.fieldSelector)
    query.append(QueryItem("watch", "true"))
    query.append(QueryItem("allowWatchBookmarks", "true"))
    query.append(QueryItem("resourceVersion", options.resourceVersion))
    if let timeout = options.timeout {
      query.append(QueryItem("timeoutSeconds", String(max(1, timeout.components.seconds))))
    }
    return APIRequest(
      path: try collectionPath(resource, namespace: namespace), query: query,
      headers: [HeaderField("Accept", encoding.accept)], idleTimeout: options.idleTimeout)
  }

  /// Reads one object, or one of its subresources.
  package static func get(
    _ resource: GroupVersionResource, _ key: ObjectKey, _ subresource: Subresource? = nil,
    encoding: ResponseEncoding = .json
  ) throws(KubernetesError) -> APIRequest {
    APIRequest(
      path: try objectPath(resource, key, subresource), headers: [HeaderField("Accept", encoding.accept)])
  }

  /// Creates an object from its JSON; `namespace` nil for cluster-scoped kinds.
  package static func create(
    _ resource: GroupVersionResource, namespace: String? = nil, body: [UInt8], _ options: WriteOptions = WriteOptions()
  ) throws(KubernetesError) -> APIRequest {
    write(.post, try collectionPath(resource, namespace: namespace), "application/json", body, options)
  }

  /// Replaces an object, or one of its subresources, by its JSON; a `resourceVersion` in it is the precondition.
  package static func replace(
    _ resource: GroupVersionResource, _ key: ObjectKey, _ subresource: Subresource? = nil, body: [UInt8],
    _ options: WriteOptions = WriteOptions()
  ) throws(KubernetesError) -> APIRequest {
    write(.put, try objectPath(resource, key, subresource), "application/json", body, options)
  }

  /// Patches an object, or one of its subresources.
  package static func patch(
    _ resource: GroupVersionResource, _ key: ObjectKey, _ subresource: Subresource? = nil, _ patch: PatchBody,
    _ options: WriteOptions = WriteOptions()
  ) throws(KubernetesError) -> APIRequest {
    let path = try objectPath(resource, key, subresource)
    switch patch {
    case .json(let body): return write(.patch, path, "application/json-patch+json", body, options)
    case .merge(let body): return write(.patch, path, "application/merge-patch+json", body, options)
    case .strategicMerge(let body):
      return write(.patch, path, "application/strategic-merge-patch+json", body, options)
    case .apply(let body, let force):
      guard options.fieldManager?.isEmpty == false else {
        throw KubernetesError(
          .invalid, "Server-side apply of \(key) needs a field manager; set WriteOptions.fieldManager.")
      }
      // JSON is YAML: the media type is the server's only name for apply before 1.36's cbor variant.
      var request = write(.patch, path, "application/apply-patch+yaml", body, options)
      request.query.append(QueryItem("force", String(force)))
      return request
    }
  }

  /// Deletes one object.
  package static func delete(
    _ resource: GroupVersionResource, _ key: ObjectKey, _ options: DeleteOptions = DeleteOptions()
  ) throws(KubernetesError) -> APIRequest {
    var body: [String: JSONValue] = ["apiVersion": "v1", "kind": "DeleteOptions"]
    if let grace = options.gracePeriod { body["gracePeriodSeconds"] = .int(max(0, grace.components.seconds)) }
    var preconditions: [String: JSONValue] = [:]
    if let uid = options.uid { preconditions["uid"] = .string(uid) }
    if let version = options.resourceVersion { preconditions["resourceVersion"] = .string(version) }
    if !preconditions.isEmpty { body["preconditions"] = .object(preconditions) }
    if let propagation = options.propagation { body["propagationPolicy"] = .string(propagation.rawValue) }
    if options.isDryRun { body["dryRun"] = ["All"] }
    let bytes = try KubernetesJSON.encode(JSONValue.object(body))
    return write(
      .delete, try objectPath(resource, key, nil), "application/json", bytes, WriteOptions(isDryRun: options.isDryRun))
  }

  /// The path below which a kind of resource is served, percent-encoded.
  package static func collectionPath(
    _ resource: GroupVersionResource, namespace: String? = nil
  ) throws(KubernetesError) -> String {
    let prefix =
      resource.group.isEmpty
      ? "/api/\(try segment(resource.version))"
      : "/apis/\(try segment(resource.group))/\(try segment(resource.version))"
    guard let namespace, !namespace.isEmpty else { return "\(prefix)/\(try segment(resource.resource))" }
    return "\(prefix)/namespaces/\(try segment(namespace))/\(try segment(resource.resource))"
  }

  /// The path of an object or of one of its subresources, percent-encoded.
  package static func objectPath(
    _ resource: GroupVersionResource, _ key: ObjectKey, _ subresource: Subresource? = nil
  ) throws(KubernetesError) -> String {
    let path = "\(try collectionPath(resource, namespace: key.namespace))/\(try segment(key.name))"
    return subresource.map { "\(path)/\($0.rawValue)" } ?? path
  }

  private static func selection(labels: Selector?, fields: String?) -> [QueryItem] {
    var query: [QueryItem] = []
    if let labels, !labels.isEmpty { query.append(QueryItem("labelSelector", labels.description)) }
    if let fields, !fields.isEmpty { query.append(QueryItem("fieldSelector", fields)) }
    return query
  }

  private static func write(
    _ method: Method, _ path: String, _ contentType: String, _ body: [UInt8], _ options: WriteOptions
  ) -> APIRequest {
    var query: [QueryItem] = []
    if let manager = options.fieldManager { query.append(QueryItem("fieldManager", manager)) }
    if options.isDryRun { query.append(QueryItem("dryRun", "All")) }
    return APIRequest(
      method: method, path: path, query: query,
      headers: [HeaderField("Accept", "application/json"), HeaderField("Content-Type", contentType)],
      body: body, priority: options.priority)
  }

  /// Encodes one segment of a path; refuses what a server could read as another path.
  package static func segment(_ name: String) throws(KubernetesError) -> String {
    // The same rule as apimachinery's IsValidPathSegmentName.
    guard !name.isEmpty, name != ".", name != "..",
      !name.utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "%") })
    else {
      throw KubernetesError(
        .invalid,
        "\"\(name.prefix(64))\" can't be part of a request path: it must not be empty, \".\", \"..\" or contain / or %."
      )
    }
    return PercentEncoding.encode(name)
  }
}

extension APIRequest {
  /// Path and query as they stand in the request line, percent-encoded.
  package var target: String {
    guard !query.isEmpty else { return path }
    let items = query.map { "\(PercentEncoding.encode($0.name))=\(PercentEncoding.encode($0.value))" }
    return "\(path)?\(items.joined(separator: "&"))"
  }
}

/// Percent-encoding (RFC 3986) that leaves only unreserved characters as they are.
package enum PercentEncoding {
  /// Encodes every byte but letters, digits, `-`, `.`, `_` and `~`.
  package static func encode(_ text: some StringProtocol) -> String {
    var result: [UInt8] = []
    result.reserveCapacity(text.utf8.count)
    let digits = Array("0123456789ABCDEF".utf8)
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        result.append(byte)
      default:
        result.append(UInt8(ascii: "%"))
        result.append(digits[Int(byte >> 4)])
        result.append(digits[Int(byte & 15)])
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
