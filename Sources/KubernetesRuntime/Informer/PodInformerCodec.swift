package import KubernetesCore
import KubernetesProtobuf
import Synchronization

/// Reads pods as protobuf, or as JSON where the server answers with that, sharing equal parts between pods.
///
/// A fleet's pods make up nearly all of a controller's traffic and memory.
package final class PodInformerCodec: InformerCodec {
  private let interner = Mutex(PodInterner())

  /// Makes the codec.
  package init() {}

  package var encoding: ResponseEncoding { .protobuf }

  package func decodeList(_ body: [UInt8], contentType: String?) throws -> ObjectList<Pod> {
    if Self.isProtobuf(contentType) {
      return try interner.withLock { try PodProtobuf.decodeList(body, interner: &$0) }
    }
    return try interner.withLock { try PodJSON.decodeList(body, interner: &$0) }
  }

  package func decodeEvent(_ frame: [UInt8], contentType: String?) throws -> WatchEvent<Pod> {
    if Self.isProtobuf(contentType) {
      return try interner.withLock { try PodProtobuf.decodeWatchFrame(frame, interner: &$0) }
    }
    let event = try KubernetesJSON.decode(WatchEvent<Pod>.self, from: frame)
    return interner.withLock { interner in event.map { interner.intern($0) } }
  }

  package func decodeStatus(_ body: [UInt8], contentType: String?) -> APIStatus? {
    Self.isProtobuf(contentType) ? try? PodProtobuf.decodeStatus(body) : nil
  }

  private static func isProtobuf(_ contentType: String?) -> Bool {
    contentType?.lowercased().hasPrefix(ResponseEncoding.protobufMediaType) ?? false
  }
}
