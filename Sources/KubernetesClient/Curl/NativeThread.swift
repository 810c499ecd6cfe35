import CCurlShim

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// An operating system thread, for code that blocks for its whole life and so mustn't occupy one of Swift's few threads.
// Sendable: `pthread_t` is a number (or, on Darwin, a pointer that only pthread functions look into), it never changes,
// and POSIX allows any thread to join or detach any other. That it happens once is up to the owner.
struct NativeThread: @unchecked Sendable {
  private let handle: pthread_t

  /// Starts a thread with all signals blocked: signals are for the main thread, and a write to a closed socket must
  /// give an error instead of ending the process.
  ///
  /// - Returns: nil when the system has no thread left.
  static func start(name: String, _ run: @escaping @Sendable () -> Void) -> NativeThread? {
    let body = Unmanaged.passRetained(NativeThreadBody(name: name, run: run))
    #if canImport(Darwin)
      var handle: pthread_t?
      let code = pthread_create(&handle, nil, { runNativeThreadBody($0) }, body.toOpaque())
    #else
      var handle = pthread_t()
      let code = pthread_create(&handle, nil, { runNativeThreadBody($0) }, body.toOpaque())
    #endif
    guard code == 0 else {
      body.release()
      return nil
    }
    #if canImport(Darwin)
      return handle.map { NativeThread(handle: $0) }
    #else
      return NativeThread(handle: handle)
    #endif
  }

  /// Waits until the thread has returned.
  func join() {
    pthread_join(handle, nil)
  }

  /// Lets the thread's resources go when it returns.
  func detach() {
    pthread_detach(handle)
  }
}

/// What a new thread runs.
private final class NativeThreadBody: Sendable {
  let name: String
  let run: @Sendable () -> Void

  init(name: String, run: @escaping @Sendable () -> Void) {
    self.name = name
    self.run = run
  }
}

private func runNativeThreadBody(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context else { return nil }
  let body = Unmanaged<NativeThreadBody>.fromOpaque(context).takeRetainedValue()
  var signals = sigset_t()
  sigfillset(&signals)
  pthread_sigmask(SIG_BLOCK, &signals, nil)
  ccurl_name_thread(body.name)
  body.run()
  return nil
}
