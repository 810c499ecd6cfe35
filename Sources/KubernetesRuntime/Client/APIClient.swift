package import KubernetesCore

/// When a failed request is sent again.
package struct RetryPolicy: Hashable, Sendable {
  /// The most attempts, the first included.
  package var attempts: Int
  /// The pauses between attempts.
  package var backoff: Backoff
  /// The longest pause that a server's Retry-After is obeyed for; when it asks for more the error is handed on at once.
  package var retryAfterLimit: Duration

  /// Makes a policy.
  package init(
    attempts: Int = 4, backoff: Backoff = Backoff(base: .milliseconds(200), cap: .seconds(5)),
    retryAfterLimit: Duration = .seconds(30)
  ) {
    self.attempts = attempts
    self.backoff = backoff
    self.retryAfterLimit = retryAfterLimit
  }

  /// Sends nothing twice, for callers with a schedule of their own.
  package static let never = RetryPolicy(attempts: 1)

  /// The pause before `request` is sent again after its attempt number `attempt` failed; nil to give up.
  ///
  /// Reads are repeated after anything that may pass. A write is repeated only where the server says that it did
  /// nothing: 429 comes before a request is carried out. After a lost answer the write may have been carried out, and
  /// only the caller, by reading, can tell.
  package func pause(after error: KubernetesError, of request: APIRequest, attempt: Int, random: UInt64) -> Duration? {
    guard attempt < attempts else { return nil }
    switch error.code {
    case .tooManyRequests: break
    case .serverFailure, .unreachable, .timedOut:
      guard request.method == .get else { return nil }
    default: return nil
    }
    if let asked = error.retryAfter, asked > retryAfterLimit { return nil }
    let delay = backoff.delay(failures: attempt, random: random)
    guard let asked = error.retryAfter else { return delay }
    // Spread over a quarter more, so that those turned away together don't return together.
    return max(delay, asked + asked / 4 * Int(random >> 32 % 1025) / 1024)
  }
}

/// Typed operations on the Kubernetes API over any transport.
///
/// Statuses from 300 on become `KubernetesError`s; see ``RetryPolicy`` for what is sent again.
package struct APIClient: Sendable {
  /// What carries the requests.
  package let transport: any APITransport
  /// The clocks.
  package let time: any TimeSource
  /// When a failed request is sent again.
  package var retryPolicy: RetryPolicy
  private let random: @Sendable () -> UInt64

  /// Makes a client.
  package init(
    transport: any APITransport, time: any TimeSource, retryPolicy: RetryPolicy = RetryPolicy(),
    random: @escaping @Sendable () -> UInt64 = { UInt64.random(in: .min ... .max) }
  ) {
    self.transport = transport
    self.time = time
    self.retryPolicy = retryPolicy
    self.random = random
  }

  /// Sends any request and gives the response if its status is 2xx.
  package func raw(_ request: APIRequest) async throws -> APIResponse {
    var attempt = 1
    while true {
      do {
        let response = try await transport.send(request)
        guard (200..<300).contains(response.head.status) else {
          throw KubernetesError(response: response, request: request)
        }
        return response
      } catch let error as KubernetesError {
        guard let pause = retryPolicy.pause(after: error, of: request, attempt: attempt, random: random()) else {
          throw error
        }
        attempt += 1
        try await time.sleep(for: pause)
      }
    }
  }

  /// Sends any request and decodes its response as JSON.
  package func send<Value: Decodable>(_ request: APIRequest, as type: Value.Type) async throws -> Value {
    try KubernetesJSON.decode(type, from: await raw(request).body)
  }

  /// Reads one object.
  package func get<Object: KubernetesObject>(_ type: Object.Type, _ key: ObjectKey) async throws -> Object {
    try await send(.get(Object.resource, key), as: type)
  }

  /// Creates an object and gives what the server stored.
  @discardableResult
  package func create<Object: KubernetesObject>(
    _ object: Object, _ options: WriteOptions = WriteOptions()
  ) async throws -> Object {
    let namespace = object.metadata.namespace.isEmpty ? nil : object.metadata.namespace
    let body = try KubernetesJSON.encode(object)
    return try await send(.create(Object.resource, namespace: namespace, body: body, options), as: Object.self)
  }

  /// Replaces an object, or its status with the subresource, if its resource version is still the one in `object`.
  @discardableResult
  package func replace<Object: KubernetesObject>(
    _ object: Object, _ subresource: Subresource? = nil, _ options: WriteOptions = WriteOptions()
  ) async throws -> Object {
    let body = try KubernetesJSON.encode(object)
    return try await send(.replace(Object.resource, object.key, subresource, body: body, options), as: Object.self)
  }

  /// Patches an object or one of its subresources that answers with the object itself, such as status.
  @discardableResult
  package func patch<Object: KubernetesObject>(
    _ type: Object.Type, _ key: ObjectKey, _ subresource: Subresource? = nil, _ patch: PatchBody,
    _ options: WriteOptions = WriteOptions()
  ) async throws -> Object {
    try await send(.patch(Object.resource, key, subresource, patch, options), as: type)
  }

  /// Deletes an object.
  package func delete<Object: KubernetesObject>(
    _ type: Object.Type, _ key: ObjectKey, _ options: DeleteOptions = DeleteOptions()
  ) async throws {
    _ = try await raw(.delete(Object.resource, key, options))
  }

  /// Reads the scale of an object of any kind that has one.
  package func scale(of resource: GroupVersionResource, _ key: ObjectKey) async throws -> Scale {
    try await send(.get(resource, key, .scale), as: Scale.self)
  }

  /// Writes the scale of an object, if its resource version is still the one in `scale`.
  ///
  /// Refuses a scale without resource version: an unconditional write could undo what a person has just set.
  @discardableResult
  package func replaceScale(
    of resource: GroupVersionResource, _ key: ObjectKey, _ scale: Scale, _ options: WriteOptions = WriteOptions()
  ) async throws -> Scale {
    guard !scale.metadata.resourceVersion.isEmpty else {
      throw KubernetesError(
        .invalid, "The scale of \(key) has no resourceVersion to guard the write; read the scale first and change that."
      )
    }
    let body = try KubernetesJSON.encode(scale)
    return try await send(.replace(resource, key, .scale, body: body, options), as: Scale.self)
  }

  /// Reads the server's version.
  package func serverVersion() async throws -> VersionInfo {
    let request = APIRequest(path: "/version", headers: [APIRequest.HeaderField("Accept", "application/json")])
    return try await send(request, as: VersionInfo.self)
  }

  /// Lists objects page by page, so that no more than a page is in memory; returns the list's resource version.
  ///
  /// A continue token that expires on the way begins the list anew, once: `page` then gets `isFirst` true again and
  /// what came before is void.
  @discardableResult
  package func list<Object: KubernetesObject>(
    _ type: Object.Type, namespace: String? = nil, _ options: ListOptions = ListOptions(limit: 500),
    page: (_ objects: [Object], _ isFirst: Bool) async throws -> Void
  ) async throws -> String {
    var options = options
    options.continueToken = nil
    var mayRestart = true
    while true {
      let isFirst = options.continueToken == nil
      let list: ObjectList<Object>
      do {
        list = try await send(.list(Object.resource, namespace: namespace, options), as: ObjectList<Object>.self)
      } catch let error as KubernetesError where error.code == .expired && !isFirst && mayRestart {
        mayRestart = false
        options.continueToken = nil
        continue
      }
      try await page(list.items, isFirst)
      if list.metadata.continueToken.isEmpty { return list.metadata.resourceVersion }
      options.continueToken = list.metadata.continueToken
    }
  }
}
