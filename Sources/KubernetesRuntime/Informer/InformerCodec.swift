package import KubernetesCore

/// How an informer asks for and reads objects of one kind.
package protocol InformerCodec<Object>: Sendable {
  /// The objects.
  associatedtype Object: WatchedObject
  /// The encoding to ask for.
  var encoding: ResponseEncoding { get }
  /// Reads one page of a list; throws `KubernetesError` with `.malformedResponse`.
  func decodeList(_ body: [UInt8], contentType: String?) throws -> ObjectList<Object>
  /// Reads one frame of a watch; throws `KubernetesError` with `.malformedResponse`.
  func decodeEvent(_ frame: [UInt8], contentType: String?) throws -> WatchEvent<Object>
}

/// Reads objects of any kind as JSON.
package struct JSONInformerCodec<Object: WatchedObject & Decodable>: InformerCodec {
  /// Makes the codec.
  package init() {}

  package var encoding: ResponseEncoding { .json }

  package func decodeList(_ body: [UInt8], contentType: String?) throws -> ObjectList<Object> {
    try KubernetesJSON.decode(ObjectList<Object>.self, from: body)
  }

  package func decodeEvent(_ frame: [UInt8], contentType: String?) throws -> WatchEvent<Object> {
    try KubernetesJSON.decode(WatchEvent<Object>.self, from: frame)
  }
}
