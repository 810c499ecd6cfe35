import CZstd
import Synchronization

/// zstd's working memory, reused: a context for packing is more than a megabyte once it has packed a state, and making it
/// anew costs more than packing a heartbeat.
final class CodecContexts: Sendable {
  /// One context.
  // Sendable: `with` takes it out of the pool for the time of one call, so that one thread uses it at a time, and the lock of
  // the pool orders one use after another; it is freed once, when nobody refers to it any more.
  final class Context: @unchecked Sendable {
    let pointer: OpaquePointer
    private let kind: Kind

    init?(_ kind: Kind) {
      guard let pointer = kind == .compression ? ZSTD_createCCtx() : ZSTD_createDCtx() else { return nil }
      self.pointer = pointer
      self.kind = kind
    }

    deinit {
      switch kind {
      case .compression: ZSTD_freeCCtx(pointer)
      case .decompression: ZSTD_freeDCtx(pointer)
      }
    }

    /// Bytes that it holds.
    var size: Int { kind == .compression ? ZSTD_sizeof_CCtx(pointer) : ZSTD_sizeof_DCtx(pointer) }
  }

  /// What a context is for.
  enum Kind: Sendable { case compression, decompression }

  private let kind: Kind
  private let idleLimit: Int
  private let idle: Mutex<[Context]>

  /// A pool that keeps up to `idleLimit` contexts that nobody uses.
  init(_ kind: Kind, idleLimit: Int) {
    self.kind = kind
    self.idleLimit = idleLimit
    idle = Mutex([])
  }

  /// Lends a context to `body`; nil when there is no memory for one.
  func with<Result>(_ body: (OpaquePointer) -> Result) -> Result? {
    guard let context = idle.withLock({ $0.popLast() }) ?? Context(kind) else { return nil }
    defer {
      idle.withLock { idle in
        if idle.count < idleLimit { idle.append(context) }
      }
    }
    return body(context.pointer)
  }

  /// Lets go of the contexts that nobody uses; gives their bytes.
  @discardableResult
  func trim() -> Int {
    let dropped = idle.withLock { idle in
      let dropped = idle
      idle = []
      return dropped
    }
    return dropped.reduce(0) { $0 + $1.size }
  }

  /// Bytes of the contexts that nobody uses.
  var idleBytes: Int { idle.withLock { $0.reduce(0) { $0 + $1.size } } }
}
