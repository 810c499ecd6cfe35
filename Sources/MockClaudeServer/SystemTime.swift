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
  static var resetOnClose: linger { linger(l_onoff: 1, l_linger: 0) }
}
