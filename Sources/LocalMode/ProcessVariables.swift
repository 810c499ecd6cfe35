#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Variables of this process.
enum ProcessVariables {
  /// A variable's value; nil when it isn't set.
  static func value(of name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
