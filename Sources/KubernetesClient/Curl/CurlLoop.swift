import CCurl
import CCurlShim
import KubernetesCore
import Synchronization

/// What tasks ask of the curl thread.
enum CurlCommand: Sendable {
  /// Start this transfer.
  case start(Transfer)
  /// Give this transfer up.
  case cancel(UInt64)
  /// Receive again for this transfer.
  case resume(UInt64)
}

/// The curl thread's inbox and life: pure.
struct CurlLoopStateMachine<Waiter: Sendable>: Sendable {
  private enum Phase {
    /// Commands are taken; → stopping.
    case running
    /// No more transfers; the thread ends what runs; → stopped.
    case stopping
    /// The thread has ended.
    case stopped
  }

  private var phase = Phase.running
  private var commands: [CurlCommand] = []
  private var waiters: [Waiter] = []
  private var isJoined = false

  /// Takes a command; false when the loop stops or has stopped.
  mutating func enqueue(_ command: CurlCommand) -> Bool {
    guard case .running = phase else { return false }
    commands.append(command)
    return true
  }

  /// The commands so far, and whether to stop after them.
  mutating func takeCommands() -> (commands: [CurlCommand], stops: Bool) {
    defer { commands = [] }
    if case .running = phase { return (commands, false) }
    return (commands, true)
  }

  /// Asks the thread to stop; true the first time.
  mutating func stop() -> Bool {
    guard case .running = phase else { return false }
    phase = .stopping
    return true
  }

  /// Keeps `waiter` until the thread has ended; false when it already has.
  mutating func waitUntilStopped(_ waiter: Waiter) -> Bool {
    if case .stopped = phase { return false }
    waiters.append(waiter)
    return true
  }

  /// The thread ends now; returns who waits for that.
  mutating func stopped() -> [Waiter] {
    phase = .stopped
    defer { waiters = [] }
    return waiters
  }

  /// True for the first caller only: whoever gets it joins or detaches the thread.
  mutating func claimThread() -> Bool {
    defer { isJoined = true }
    return !isJoined
  }
}

/// The part of the curl thread that other threads see: an inbox, counters and the thread's end.
final class CurlLoop: Sendable {
  /// The inbox with the handle that wakes the thread.
  ///
  /// `multi` belongs to the curl thread. Other threads call only `curl_multi_wakeup` on it, which libcurl documents as
  /// thread-safe, and only inside the lock while it is set: the curl thread unsets it before it frees the handle.
  private struct Inbox {
    var machine = CurlLoopStateMachine<CheckedContinuation<Void, Never>>()
    var multi: MultiHandle?
    var thread: NativeThread?
  }

  /// The multi handle's address; a number, so that it says nothing about who may use it: see `Inbox`.
  private struct MultiHandle: Sendable {
    let address: UInt

    var pointer: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: address) }

    func wake() {
      if let pointer { curl_multi_wakeup(pointer) }
    }
  }

  private let inbox: Mutex<Inbox>
  private let counters = Mutex(CurlTransportStatistics())
  private let nextID = Atomic<UInt64>(1)

  /// Starts the thread.
  init(settings: CurlWorker.Settings) throws {
    try CurlLibrary.start()
    guard let multi = curl_multi_init() else {
      throw KubernetesError(.misconfigured, "libcurl could not be set up: out of memory or out of file descriptors.")
    }
    inbox = Mutex(Inbox())
    let handle = MultiHandle(address: UInt(bitPattern: multi))
    inbox.withLock { $0.multi = handle }
    let thread = NativeThread.start(name: "curl") { [self] in
      guard let multi = handle.pointer else { return }
      let worker = CurlWorker(loop: self, multi: multi, settings: settings)
      worker.run()
    }
    guard let thread else {
      curl_multi_cleanup(multi)
      throw KubernetesError(.misconfigured, "The thread for libcurl could not be started. Check the limit of threads.")
    }
    inbox.withLock { $0.thread = thread }
  }

  // MARK: Tasks

  /// An id for the next transfer.
  func makeID() -> UInt64 { nextID.wrappingAdd(1, ordering: .relaxed).oldValue }

  /// Starts `transfer`; throws after `stop`.
  func start(_ transfer: Transfer) throws {
    guard send(.start(transfer)) else { throw CurlLoop.shutDownError }
  }

  /// Gives the transfer `id` up; without effect when it has ended.
  func cancel(_ id: UInt64) { _ = send(.cancel(id)) }

  /// Receives again for the transfer `id`.
  func resume(_ id: UInt64) { _ = send(.resume(id)) }

  /// What everything that still runs fails with when the transport is shut down.
  static var shutDownError: KubernetesError {
    KubernetesError(.unreachable, "The connection to the Kubernetes API has been shut down.")
  }

  private func send(_ command: CurlCommand) -> Bool {
    inbox.withLock { inbox in
      guard inbox.machine.enqueue(command) else { return false }
      inbox.multi?.wake()
      return true
    }
  }

  /// Asks the thread to end everything and itself; doesn't wait.
  func stop() {
    inbox.withLock { inbox in
      if inbox.machine.stop() { inbox.multi?.wake() }
    }
  }

  /// Waits until the thread has ended, and joins it.
  func waitUntilStopped() async {
    await withCheckedContinuation { waiter in
      if !inbox.withLock({ $0.machine.waitUntilStopped(waiter) }) { waiter.resume() }
    }
    // The thread has nothing left to do but return, so that joining it takes no time.
    claimedThread()?.join()
  }

  /// Lets the thread end by itself; for an owner that can't wait.
  func detach() {
    claimedThread()?.detach()
  }

  private func claimedThread() -> NativeThread? {
    inbox.withLock { $0.machine.claimThread() ? $0.thread : nil }
  }

  // MARK: The curl thread

  /// The commands since the last call, and whether to stop.
  func takeCommands() -> (commands: [CurlCommand], stops: Bool) {
    inbox.withLock { $0.machine.takeCommands() }
  }

  /// The thread has ended every transfer; from here on nobody else may use the multi handle, and `freeMulti` frees it.
  func markStopped(_ freeMulti: () -> Void) {
    let waiters = inbox.withLock { inbox in
      inbox.multi = nil
      return inbox.machine.stopped()
    }
    freeMulti()
    waiters.forEach { $0.resume() }
  }

  /// Changes the counters.
  func count(_ change: (inout CurlTransportStatistics) -> Void) {
    counters.withLock { change(&$0) }
  }

  /// The counters now.
  var statistics: CurlTransportStatistics { counters.withLock { $0 } }
}
