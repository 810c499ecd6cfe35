#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The wall clock.
enum SystemTime {
  /// Seconds and nanoseconds since the epoch.
  static var sinceEpoch: (seconds: Int64, nanoseconds: Int64) {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return (Int64(time.tv_sec), Int64(time.tv_nsec))
  }

  /// A linger of zero seconds: closing the socket then resets the connection.
  ///
  /// Its fields are written as the two integers that they are: in a build of the whole module the compiler ascribes them to
  /// a module of NIO's that can't be imported.
  static var resetOnClose: linger {
    withUnsafeBytes(of: (onoff: Int32(1), linger: Int32(0))) { $0.load(as: linger.self) }
  }
}
