import CProcessSpawn
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One thread that waits for all of the node's sockets: shims and network probes.
///
/// The loop owns the descriptors given to it and closes them on its own thread only, so that none is closed, and its
/// number used anew, while somebody waits for it. `poll` is called with all of them each time: some hundreds, 20 µs.
final class DescriptorLoop: Sendable {
  /// What to wait for.
  enum Interest: Sendable {
    case read
    case write
  }

  /// What follows the handling of a ready descriptor.
  enum Next: Sendable {
    case wait(Interest)
    /// Close it.
    case close
  }

  /// Called on the loop's thread: don't block.
  typealias Handler = @Sendable (_ descriptor: Int32) -> Next

  private struct Entry {
    var descriptor: Int32
    var interest: Interest
    var handler: Handler
    var isDropped = false
  }

  private struct State {
    var entries: [UInt64: Entry] = [:]
    var nextID: UInt64 = 0
    var isStopped = false
    var hasEnded = false
    /// The shims whose end hasn't been waited for.
    var shims: Set<pid_t> = []
    var endWaiters: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())
  private let wakeReader: Int32
  private let wakeWriter: Int32

  /// Makes a loop and starts its thread.
  init() throws(NodeError) {
    var pair: [Int32] = [-1, -1]
    let code = cspawn_socket_pair(&pair)
    guard code == 0 else { throw NodeError.system("make a pair of sockets", code) }
    (wakeReader, wakeWriter) = (pair[0], pair[1])
    for descriptor in pair { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
    let context = Unmanaged.passRetained(self)
    let started = cspawn_thread(
      "process-node",
      { context in
        guard let context else { return }
        Unmanaged<DescriptorLoop>.fromOpaque(context).takeRetainedValue().run()
      }, context.toOpaque())
    guard started == 0 else {
      context.release()
      throw NodeError.system("start a thread", started)
    }
  }

  deinit {
    close(wakeReader)
    close(wakeWriter)
  }

  /// Waits for a descriptor, which belongs to the loop from now on; nil, and closed, when the loop has stopped.
  @discardableResult
  func add(_ descriptor: Int32, _ interest: Interest, _ handler: @escaping Handler) -> UInt64? {
    let id = state.withLock { state -> UInt64? in
      if state.isStopped { return nil }
      state.nextID += 1
      state.entries[state.nextID] = Entry(descriptor: descriptor, interest: interest, handler: handler)
      return state.nextID
    }
    if id == nil { close(descriptor) }
    wake()
    return id
  }

  /// Closes a descriptor soon, unless that has happened.
  func drop(_ id: UInt64) {
    state.withLock { $0.entries[id]?.isDropped = true }
    wake()
  }

  /// Closes everything, waits for the end of all shims, and so of all that they look after, and ends the thread.
  func shutdown() async {
    await withCheckedContinuation { continuation in
      let hasEnded = state.withLock { state in
        state.isStopped = true
        if !state.hasEnded { state.endWaiters.append(continuation) }
        return state.hasEnded
      }
      if hasEnded { continuation.resume() }
      wake()
    }
  }

  /// Notes a shim, to be waited for at the latest when the loop ends.
  func note(shim: pid_t) { state.withLock { _ = $0.shims.insert(shim) } }

  /// Waits for a shim that has ended or is about to.
  func reap(shim: pid_t) {
    waitpid(shim, nil, 0)
    state.withLock { _ = $0.shims.remove(shim) }
  }

  private func wake() {
    var byte: UInt8 = 1
    _ = write(wakeWriter, &byte, 1)
  }

  private func run() {
    while true {
      let (ids, isStopped) = prepare()
      if isStopped { return finish() }
      var files = [pollfd(fd: wakeReader, events: Int16(POLLIN), revents: 0)] + ids.map(\.file)
      guard poll(&files, nfds_t(files.count), -1) >= 0 else { continue }
      if files[0].revents != 0 {
        var bytes = [UInt8](repeating: 0, count: 256)
        while read(wakeReader, &bytes, bytes.count) == bytes.count {}
      }
      for (place, file) in files.dropFirst().enumerated() where file.revents != 0 { serve(ids[place].id) }
    }
  }

  private func finish() {
    for shim in state.withLock({ $0.shims }) { waitpid(shim, nil, 0) }
    let waiters = state.withLock { state in
      state.hasEnded = true
      state.shims = []
      defer { state.endWaiters = [] }
      return state.endWaiters
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Closes what was dropped, and everything at the end.
  private func prepare() -> (ids: [(id: UInt64, file: pollfd)], isStopped: Bool) {
    state.withLock { state in
      for (id, entry) in state.entries where entry.isDropped || state.isStopped {
        close(entry.descriptor)
        state.entries[id] = nil
      }
      let files = state.entries.map { id, entry in
        (
          id: id,
          file: pollfd(
            fd: entry.descriptor, events: Int16(entry.interest == .read ? POLLIN : POLLOUT), revents: 0)
        )
      }
      return (files, state.isStopped)
    }
  }

  private func serve(_ id: UInt64) {
    guard let entry = state.withLock({ $0.entries[id] }), !entry.isDropped else { return }
    switch entry.handler(entry.descriptor) {
    case .wait(let interest): state.withLock { $0.entries[id]?.interest = interest }
    case .close:
      state.withLock { state in
        close(entry.descriptor)
        state.entries[id] = nil
      }
    }
  }
}
