import Synchronization

/// Carries frames between the messengers of one process.
package final class InProcessTransport: MessageTransport {
  private struct Listener {
    var frames: [[UInt8]] = []
    var reader: CheckedContinuation<[UInt8]?, Never>?
    /// Who waits for room, in order.
    var writers: [(number: UInt64, frame: [UInt8], continuation: CheckedContinuation<Bool, Never>)] = []
  }

  private struct State {
    var next: UInt64 = 0
    var places: [MessagePlace: [UInt64]] = [:]
    var listeners: [UInt64: Listener] = [:]
  }

  package let frameBytes: Int
  private let capacity: Int
  private let state = Mutex(State())

  /// `capacity`: frames that may wait for a listener; who sends more waits. `frameBytes`: the most bytes of one.
  package init(capacity: Int = 64, frameBytes: Int = 1 << 20) {
    self.capacity = max(1, capacity)
    self.frameBytes = frameBytes
  }

  /// Who listens somewhere now.
  package var listenerCount: Int { state.withLock { $0.listeners.count } }

  package func send(_ frame: [UInt8], to place: MessagePlace) async throws {
    guard frame.count <= frameBytes else {
      throw MessagingError.tooLarge("a frame may have \(frameBytes) bytes, not \(frame.count)")
    }
    let listeners = state.withLock { $0.places[place] ?? [] }
    if listeners.isEmpty, case .node(let name) = place {
      throw MessagingError.unreachable("nobody listens as \(name); has that process ended?")
    }
    var isDelivered = listeners.isEmpty
    for listener in listeners { isDelivered = await deliver(frame, to: listener) || isDelivered }
    try Task.checkCancellation()
    guard isDelivered else { throw MessagingError.unreachable("\(place) has gone") }
  }

  package func listen(at place: MessagePlace) async throws -> FrameSubscription {
    let number = try state.withLock { state in
      if case .node(let name) = place, state.places[place]?.isEmpty == false {
        throw MessagingError.unreachable("another messenger is called \(name)")
      }
      state.next += 1
      state.places[place, default: []].append(state.next)
      state.listeners[state.next] = Listener()
      return state.next
    }
    return FrameSubscription {
      await self.read(number)
    } cancel: {
      self.end(number, at: place)
    }
  }

  private func deliver(_ frame: [UInt8], to number: UInt64) async -> Bool {
    let waiter = state.withLock { state in
      state.next += 1
      return state.next
    }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        var reader: CheckedContinuation<[UInt8]?, Never>?
        let outcome: Bool? = state.withLock { state in
          guard var listener = state.listeners[number] else { return false }
          defer { state.listeners[number] = listener }
          reader = listener.reader.take()
          if reader != nil { return true }
          if listener.frames.count < capacity, listener.writers.isEmpty {
            listener.frames.append(frame)
            return true
          }
          guard !Task.isCancelled else { return false }
          listener.writers.append((waiter, frame, continuation))
          return nil
        }
        reader?.resume(returning: frame)
        if let outcome { continuation.resume(returning: outcome) }
      }
    } onCancel: {
      let continuation = state.withLock { state -> CheckedContinuation<Bool, Never>? in
        guard let index = state.listeners[number]?.writers.firstIndex(where: { $0.number == waiter }) else {
          return nil
        }
        return state.listeners[number]?.writers.remove(at: index).continuation
      }
      continuation?.resume(returning: false)
    }
  }

  private func read(_ number: UInt64) async -> [UInt8]? {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        var writer: CheckedContinuation<Bool, Never>?
        var frame: [UInt8]?
        let isDone = state.withLock { state in
          guard var listener = state.listeners[number], !Task.isCancelled else { return true }
          defer { state.listeners[number] = listener }
          guard !listener.frames.isEmpty else {
            listener.reader = continuation
            return false
          }
          frame = listener.frames.removeFirst()
          if !listener.writers.isEmpty {
            let waiting = listener.writers.removeFirst()
            listener.frames.append(waiting.frame)
            writer = waiting.continuation
          }
          return true
        }
        writer?.resume(returning: true)
        if isDone { continuation.resume(returning: frame) }
      }
    } onCancel: {
      state.withLock { $0.listeners[number]?.reader.take() }?.resume(returning: nil)
    }
  }

  private func end(_ number: UInt64, at place: MessagePlace) {
    let listener = state.withLock { state in
      state.places[place]?.removeAll { $0 == number }
      if state.places[place]?.isEmpty == true { state.places[place] = nil }
      return state.listeners.removeValue(forKey: number)
    }
    listener?.reader?.resume(returning: nil)
    for writer in listener?.writers ?? [] { writer.continuation.resume(returning: false) }
  }
}
