import NIOCore
import Synchronization

/// The connections of a server that are open, and whether each is answering a request.
///
/// A connection is in here from the moment in which it is accepted, before anybody serves it: a server that stops closes
/// those that nobody will.
final class OpenConnections: Sendable {
  private struct State {
    var connections: [ObjectIdentifier: (channel: any Channel, isBusy: Bool)] = [:]
    var isStopping = false
  }

  private let state = Mutex(State())

  /// Whether the server wants connections to end.
  var isStopping: Bool { state.withLock { $0.isStopping } }

  /// Takes a connection in until it closes; false: the server takes none any more.
  func add(_ channel: any Channel) -> Bool {
    let id = ObjectIdentifier(channel)
    let isTaken = state.withLock { state in
      if !state.isStopping { state.connections[id] = (channel, false) }
      return !state.isStopping
    }
    guard isTaken else { return false }
    channel.closeFuture.whenComplete { _ in self.state.withLock { _ = $0.connections.removeValue(forKey: id) } }
    return true
  }

  /// Notes whether a connection is answering; false when an idle one is to be closed.
  func mark(_ channel: any Channel, isBusy: Bool) -> Bool {
    state.withLock { state in
      state.connections[ObjectIdentifier(channel)]?.isBusy = isBusy
      return isBusy || !state.isStopping
    }
  }

  /// Takes no new connections, and closes those that answer nothing.
  func stop() { close { !$0 } }

  /// Takes no new connections, and closes all.
  func closeAll() { close { _ in true } }

  private func close(where condition: (Bool) -> Bool) {
    let channels = state.withLock { state -> [any Channel] in
      state.isStopping = true
      return state.connections.values.filter { condition($0.isBusy) }.map(\.channel)
    }
    for channel in channels { channel.close(mode: .all, promise: nil) }
  }
}
