package import KubernetesCore
import KubernetesProtobuf
import KubernetesRuntime
import Synchronization

/// Reads pods from protobuf where the server has it, from JSON otherwise, sharing what pods of one workload share.
package final class PodCodec: InformerCodec {
  package typealias Object = Pod

  private let interner = Mutex(PodInterner())

  /// Makes a codec with an interner of its own.
  package init() {}

  package var encoding: ResponseEncoding { .protobuf }

  package func decodeList(_ body: [UInt8], contentType: String?) throws -> ObjectList<Pod> {
    guard Self.isProtobuf(contentType) else {
      var list = try KubernetesJSON.decode(ObjectList<Pod>.self, from: body)
      interner.withLock { interner in
        for index in list.items.indices { list.items[index] = interner.intern(list.items[index]) }
      }
      return list
    }
    return try interner.withLock { interner in try PodProtobuf.decodeList(body, interner: &interner) }
  }

  package func decodeEvent(_ frame: [UInt8], contentType: String?) throws -> WatchEvent<Pod> {
    guard Self.isProtobuf(contentType) else { return try KubernetesJSON.decode(WatchEvent<Pod>.self, from: frame) }
    return try interner.withLock { interner in try PodProtobuf.decodeWatchFrame(frame, interner: &interner) }
  }

  private static func isProtobuf(_ contentType: String?) -> Bool {
    contentType?.hasPrefix(ResponseEncoding.protobufMediaType) == true
  }
}
