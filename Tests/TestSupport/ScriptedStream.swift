package import KubernetesCore
import Synchronization

/// A streamed response whose body a test feeds chunk by chunk.
package final class ScriptedStream: Sendable {
  private struct State {
    var chunks: [[UInt8]] = []
    var end: Result<Void, any Error>?
    var waiter: (id: UInt64, continuation: CheckedContinuation<[UInt8]?, any Error>)?
    var nextID: UInt64 = 0
    var cancelled: Set<UInt64> = []
    var isClosed = false
  }

  /// The status code and headers of the response.
  package let head: APIResponseHead
  private let state = Mutex(State())

  /// Passes when the client has closed the stream (its scope ended).
  package let closed = Gate()

  /// Makes a stream; the status is 200 unless told otherwise.
  package init(status: Int = 200, headers: [APIRequest.HeaderField] = []) {
    head = APIResponseHead(status: status, headers: headers)
  }

  /// Sends bytes to the client.
  package func send(_ bytes: [UInt8]) {
    let waiter = state.withLock { state -> CheckedContinuation<[UInt8]?, any Error>? in
      if let waiter = state.waiter {
        state.waiter = nil
        return waiter.continuation
      }
      state.chunks.append(bytes)
      return nil
    }
    waiter?.resume(returning: bytes)
  }

  /// Sends text to the client.
  package func send(_ text: String) { send(Array(text.utf8)) }

  /// Ends the body as a server does that closes the watch in good order.
  package func finish() { end(.success(())) }

  /// Breaks the connection.
  package func fail(_ error: any Error) { end(.failure(error)) }

  private func end(_ result: Result<Void, any Error>) {
    let waiter = state.withLock { state -> CheckedContinuation<[UInt8]?, any Error>? in
      state.end = result
      defer { state.waiter = nil }
      return state.waiter?.continuation
    }
    waiter?.resume(with: result.map { nil })
  }

  /// The next chunk, for the transport.
  package func next() async throws -> [UInt8]? {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let ready = state.withLock { state -> Result<[UInt8]?, any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if !state.chunks.isEmpty { return .success(state.chunks.removeFirst()) }
          if let end = state.end { return end.map { nil } }
          state.waiter = (id, continuation)
          return nil
        }
        if let ready { continuation.resume(with: ready) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<[UInt8]?, any Error>? in
        guard let waiter = state.waiter, waiter.id == id else {
          state.cancelled.insert(id)
          return nil
        }
        state.waiter = nil
        return waiter.continuation
      }
      waiter?.resume(throwing: CancellationError())
    }
  }
}
