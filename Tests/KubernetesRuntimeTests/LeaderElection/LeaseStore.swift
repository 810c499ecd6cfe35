import KubernetesCore
import Synchronization
import TestSupport

/// A linearisable store of one Lease behind the API: create, read, replace with a resource version precondition.
final class LeaseStore: APITransport {
  private struct State {
    var lease: Lease?
    var version = 100
    var writes: [String] = []
  }

  private let state = Mutex(State())
  /// Decides on faults per request: nil answers as it should.
  private let fault: @Sendable (APIRequest) async throws -> APIResponse?
  let requests = Inbox<APIRequest>()

  init(fault: @escaping @Sendable (APIRequest) async throws -> APIResponse? = { _ in nil }) {
    self.fault = fault
  }

  var lease: Lease? { state.withLock { $0.lease } }

  /// The holders in the order of successful writes.
  var holders: [String] { state.withLock { $0.writes } }

  func send(_ request: APIRequest) async throws -> APIResponse {
    requests.put(request)
    if let response = try await fault(request) { return response }
    return try answer(request)
  }

  /// Carries out a request.
  func answer(_ request: APIRequest) throws -> APIResponse {
    let sent = try request.body.map { try KubernetesJSON.decode(Lease.self, from: $0) }
    let (status, stored) = state.withLock { state -> (Int, Lease?) in
      switch request.method {
      case .get: return (state.lease == nil ? 404 : 200, state.lease)
      case .post where state.lease != nil: return (409, nil)
      case .put where state.lease == nil: return (404, nil)
      case .put where state.lease?.resourceVersion != sent?.resourceVersion: return (409, nil)
      case .post, .put:
        state.version += 1
        state.lease = sent
        state.lease?.metadata.resourceVersion = "\(state.version)"
        state.writes.append(sent?.spec.holderIdentity ?? "")
        return (200, state.lease)
      default: return (405, nil)
      }
    }
    let body = try stored.map { try KubernetesJSON.encode($0) } ?? []
    return APIResponse(head: APIResponseHead(status: status), body: body)
  }

  func withStream<Result: Sendable>(
    _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    throw KubernetesError(.notSupported, "leases aren't watched")
  }
}
