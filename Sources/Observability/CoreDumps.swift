#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Whether a crash leaves this process's memory on a disk.
package enum CoreDumps {
  /// Switches core files off, for good: the memory of a process that carries requests holds keys, prompts and completions.
  package static func disable() {
    var limit = rlimit(rlim_cur: 0, rlim_max: 0)
    // Lowering a limit needs no right, and the pointer is valid: it can't fail.
    setrlimit(resource, &limit)
  }

  #if canImport(Glibc)
    private static let resource = __rlimit_resource_t(RLIMIT_CORE.rawValue)
  #else
    private static let resource = RLIMIT_CORE
  #endif
}
