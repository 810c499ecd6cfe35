package import KubernetesCore

/// The whole cluster as a state machine: requests in, answers out; controllers as steps (`settle`). No I/O, no clock.
package struct ClusterState: Sendable {
  /// What a cluster may hold and for how long.
  package struct Limits: Sendable {
    /// The most bytes of a request's body; that of the API server.
    package var bodyBytes = 3 << 20
    /// How long an event is kept; that of the API server.
    package var eventLifetime = Duration.seconds(3_600)
    /// The most events that are kept; the oldest go first.
    package var events = 5_000
    /// The most objects in all.
    package var objects = 50_000
    /// How many changes a watch may lag behind.
    package var changes = 2_000

    /// The limits of a machine's own cluster.
    package init() {}
  }

  /// All objects.
  package internal(set) var store: ObjectStore
  /// The tokens that were issued.
  var tokens = IssuedTokens()
  /// The limits.
  let limits: Limits
  /// The metrics that `external.metrics.k8s.io` has; empty: the group isn't served.
  package var externalMetrics: [String] = []
  /// The types.
  let catalog = ResourceCatalog.shared
  /// What the controllers know between two steps.
  var controllers = ControllerState()
  /// The next address of a service; nothing listens there.
  var nextServiceAddress = 1

  /// Makes a cluster with its namespaces.
  package init(
    limits: Limits = Limits(), at now: Timestamp, using generator: inout some RandomNumberGenerator
  ) {
    self.limits = limits
    store = ObjectStore(logLimit: limits.changes)
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
      var call = APICall("POST", "/api/v1/namespaces")
      call.userAgent = "local-cluster"
      call.body =
        JSONValue.object([
          "apiVersion": "v1", "kind": "Namespace", "metadata": ["name": .string(name)],
        ]).text
      _ = respond(to: call, at: now, using: &generator)
    }
  }

  /// Resumes from a snapshot; nil when it isn't one.
  ///
  /// The last changes of a run that was cut off may be missing from it, so versions go on well behind it: none is given twice.
  package init?(
    snapshot: JSONValue, limits: Limits = Limits(), at now: Timestamp, using generator: inout some RandomNumberGenerator
  ) {
    guard let text = snapshot["version"]?.stringValue, let version = UInt64(text) else { return nil }
    var later = snapshot
    later["version"] = .string(String(version + 100_000))
    guard let store = ObjectStore(snapshot: later, logLimit: limits.changes) else { return nil }
    self.init(limits: limits, at: now, using: &generator)
    guard store.count("namespaces") > 0 else { return }
    self.store = store
    nextServiceAddress = store.count("services") + 1
  }

  /// Forgets the changes so far: watches from before begin anew.
  package mutating func compact() { store.compact() }

  /// Answers a request.
  package mutating func respond(
    to call: APICall, at now: Timestamp, using generator: inout some RandomNumberGenerator
  ) -> APIAnswer {
    var moment = Moment(now: now, bits: (0..<4).map { _ in generator.next() })
    do throws(APIFailure) {
      return try answer(call, &moment)
    } catch {
      return .document(status: error.code, error.status, warnings: [])
    }
  }

  /// The time, and as many random bits as one step needs.
  struct Moment {
    let now: Timestamp
    private var bits: [UInt64]
    private var used = 0

    init(now: Timestamp, bits: [UInt64]) {
      self.now = now
      self.bits = bits
    }

    /// Random bits, never the same twice.
    mutating func random() -> UInt64 {
      // Splitmix64 over what the generator gave: one step can make hundreds of objects.
      used += 1
      var value = bits[used % bits.count] &+ UInt64(used) &* 0x9E37_79B9_7F4A_7C15
      value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
      value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
      return value ^ (value >> 31)
    }

    /// A new UUID of version 4.
    mutating func uid() -> String {
      let high = (random() & 0xFFFF_FFFF_FFFF_0FFF) | 0x4000
      let low = (random() & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
      let digits = Self.hexadecimal(high) + Self.hexadecimal(low)
      var result = ""
      for (index, digit) in digits.enumerated() {
        if [8, 12, 16, 20].contains(index) { result += "-" }
        result.append(digit)
      }
      return result
    }

    static func hexadecimal(_ value: UInt64) -> String {
      let text = String(value, radix: 16)
      return String(repeating: "0", count: 16 - text.count) + text
    }

    /// Five characters without vowels, as generated names end.
    mutating func suffix() -> String {
      let alphabet = Array("bcdfghjklmnpqrstvwxz2456789")
      var bits = random()
      var text = ""
      for _ in 0..<5 {
        text.append(alphabet[Int(bits % UInt64(alphabet.count))])
        bits /= UInt64(alphabet.count)
      }
      return text
    }
  }

  // MARK: Routing

  private mutating func answer(_ call: APICall, _ moment: inout Moment) throws(APIFailure) -> APIAnswer {
    let parts = call.path.split(separator: "/").map(String.init)
    guard ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].contains(call.method) else {
      throw .methodNotAllowed(call.method)
    }
    if isExternal(parts) { return try external(parts, call) }
    if call.method == "GET" || call.method == "HEAD", let fixed = try fixedAnswer(parts, call) { return fixed }
    let place = try Place(parts, catalog, call.path)
    guard place.type.group != "metrics.k8s.io" else { return try metrics(place, call) }
    if let subresource = place.subresource { return try answer(subresource, place, call, &moment) }
    switch (call.method, place.name) {
    case ("GET", nil), ("HEAD", nil):
      try allow("list", place, call)
      return call.isSet("watch") ? try watch(place, call) : try list(place, call, moment.now)
    case ("GET", let name?), ("HEAD", let name?):
      try allow("get", place, call)
      return call.isSet("watch")
        ? try watch(place, call, name: name)
        : try shown(served(try object(place), place.type), place.type, call, moment.now)
    case ("POST", nil):
      try allow("create", place, call)
      return try create(place, call, &moment)
    case ("PUT", _?):
      try allow("update", place, call)
      return try update(place, call, &moment)
    case ("PATCH", _?):
      try allow("patch", place, call)
      return try patch(place, call, &moment)
    case ("DELETE", nil):
      try allow("deletecollection", place, call)
      return try deleteCollection(place, call, &moment)
    case ("DELETE", _?):
      try allow("delete", place, call)
      return try delete(place, call, &moment)
    default: throw .methodNotAllowed(call.method)
    }
  }

  private func allow(_ verb: String, _ place: Place, _ call: APICall) throws(APIFailure) {
    guard place.type.verbs.contains(verb) else { throw .methodNotAllowed(call.method) }
  }

  /// The object at a place.
  func object(_ place: Place) throws(APIFailure) -> JSONValue {
    guard let object = store[place.key] else { throw .notFound(place.type, place.name ?? "") }
    return object
  }

  /// The answer that shows one object in the form that the client asks for.
  func shown(
    _ object: JSONValue, _ type: ResourceType, _ call: APICall, _ now: Timestamp, status: Int = 200,
    warnings: [String] = []
  ) throws(APIFailure) -> APIAnswer {
    let form = ObjectForm(accept: call.accept, includeObject: call["includeObject"])
    return .document(status: status, Self.form(object, type, form, now), warnings: warnings)
  }
}

/// The place in the API that a path names.
struct Place {
  var type: ResourceType
  var namespace: String
  var name: String?
  var subresource: String?

  var key: StoreKey {
    StoreKey(storage: type.storage, namespace: type.isNamespaced ? namespace : "", name: name ?? "")
  }

  /// nil for all namespaces.
  var listedNamespace: String? { type.isNamespaced && !namespace.isEmpty ? namespace : nil }

  init(type: ResourceType, namespace: String, name: String?) {
    self.type = type
    self.namespace = type.isNamespaced ? namespace : ""
    self.name = name
  }

  init(_ parts: [String], _ catalog: ResourceCatalog, _ path: String) throws(APIFailure) {
    var rest = parts[...]
    let group: String
    switch rest.popFirst() {
    case "api": group = ""
    case "apis": group = rest.popFirst() ?? ""
    default: throw .noSuchPath(path)
    }
    guard let version = rest.popFirst(), catalog.groups.contains(group) else { throw .noSuchPath(path) }
    var namespace = ""
    // `namespaces/a/pods` lies in a namespace; `namespaces/a` and `namespaces/a/status` are the namespace itself.
    if rest.first == "namespaces", rest.count >= 3,
      !(group.isEmpty && ["status", "finalize"].contains(rest[rest.startIndex + 2]))
    {
      namespace = rest[rest.startIndex + 1]
      rest = rest.dropFirst(2)
    }
    guard let plural = rest.popFirst(), let type = catalog.type(group: group, version: version, plural: plural) else {
      throw .noSuchPath(path)
    }
    self.type = type
    self.namespace = namespace
    name = rest.popFirst()
    subresource = rest.popFirst()
    guard rest.isEmpty, type.isNamespaced || namespace.isEmpty, name == nil || !type.isNamespaced || !namespace.isEmpty,
      subresource == nil || type.subresources.contains(where: { $0.name == self.subresource })
    else { throw .noSuchPath(path) }
  }
}
