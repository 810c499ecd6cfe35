import CCompressionDictionaries
import CZstd
import Synchronization

/// A trained dictionary: what messages have in common, so that short ones needn't bring it along.
package final class CompressionDictionary: Sendable {
  /// What stands in the header of what is packed with it.
  package let id: UInt32
  private let source: Source
  private let compressing = Mutex<[Int32: Digest]>([:])
  private let decompressing = Mutex<Digest?>(nil)

  private enum Source: Sendable {
    case array([UInt8])
    /// A constant of the program at this address.
    case constant(address: UInt, count: Int)

    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
      switch self {
      case .array(let bytes): bytes.withUnsafeBytes(body)
      case .constant(let address, let count):
        body(UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count))
      }
    }
  }

  /// zstd's tables of a dictionary; made when first used, since they take more memory than the dictionary.
  // Sendable: zstd only reads a digested dictionary once it is made ("can be shared by multiple threads concurrently"), the
  // pointer never changes, and it is freed once, when nobody refers to this object any more.
  final class Digest: @unchecked Sendable {
    let pointer: OpaquePointer
    private let free: @Sendable (OpaquePointer) -> Void

    init?(_ pointer: OpaquePointer?, free: @escaping @Sendable (OpaquePointer) -> Void) {
      guard let pointer else { return nil }
      self.pointer = pointer
      self.free = free
    }

    deinit { free(pointer) }
  }

  /// Takes a dictionary as zstd's trainer writes it; nil when it isn't one.
  package convenience init?(bytes: [UInt8]) {
    self.init(.array(bytes))
  }

  private init?(_ source: Source) {
    id = source.withBytes { ZSTD_getDictID_fromDict($0.baseAddress, $0.count) }
    guard id != 0 else { return nil }
    self.source = source
  }

  /// Those that are part of this program, the oldest first.
  package static let builtIn: [CompressionDictionary] = (0..<compression_dictionary_count).compactMap(builtIn(at:))

  /// Its size.
  package var size: Int { source.withBytes(\.count) }

  /// The tables for packing; nil when there is no memory.
  func compressor(level: Int32) -> Digest? {
    compressing.withLock { digests in
      if let digest = digests[level] { return digest }
      let made = source.withBytes { ZSTD_createCDict($0.baseAddress, $0.count, level) }
      digests[level] = Digest(made) { ZSTD_freeCDict($0) }
      return digests[level]
    }
  }

  /// The tables for unpacking; nil when there is no memory.
  func decompressor() -> Digest? {
    decompressing.withLock { digest in
      digest =
        digest ?? Digest(source.withBytes { ZSTD_createDDict($0.baseAddress, $0.count) }) { ZSTD_freeDDict($0) }
      return digest
    }
  }

  private static func builtIn(at index: Int) -> CompressionDictionary? {
    guard let entry = compression_dictionary_at(index) else { return nil }
    return CompressionDictionary(
      .constant(address: UInt(bitPattern: entry.pointee.bytes), count: entry.pointee.size))
  }
}

/// The dictionaries that a reader has: those of the program, and the last few that came from elsewhere.
package final class CompressionDictionaries: Sendable {
  /// How many are kept; the oldest goes first, never one of the program's own.
  package let capacity: Int
  private let state: Mutex<(known: [UInt32: CompressionDictionary], added: [UInt32])>

  /// Those of the program, and up to `capacity` added ones.
  package init(capacity: Int = 4) {
    self.capacity = max(0, capacity)
    let own = Dictionary(CompressionDictionary.builtIn.map { ($0.id, $0) }, uniquingKeysWith: { _, last in last })
    state = Mutex((own, []))
  }

  /// Adds one that was read from the store; one with an id that is known changes nothing.
  package func add(_ dictionary: CompressionDictionary) {
    state.withLock { state in
      guard capacity > 0, state.known[dictionary.id] == nil else { return }
      state.known[dictionary.id] = dictionary
      state.added.append(dictionary.id)
      if state.added.count > capacity { state.known[state.added.removeFirst()] = nil }
    }
  }

  /// The dictionary of an id.
  package subscript(id: UInt32) -> CompressionDictionary? { state.withLock { $0.known[id] } }

  /// The ids of all, in ascending order.
  package var ids: [UInt32] { state.withLock { $0.known.keys.sorted() } }
}
