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
  /// Reads the body of a refusal that isn't JSON; nil when it is JSON or can't be read.
  func decodeStatus(_ body: [UInt8], contentType: String?) -> APIStatus?
}

extension InformerCodec {
  package func decodeStatus(_ body: [UInt8], contentType: String?) -> APIStatus? { nil }

  /// The error that a response other than 200 stands for, whichever its encoding.
  func error(for response: APIResponse, to request: APIRequest) -> KubernetesError {
    var response = response
    if let status = decodeStatus(response.body, contentType: response.head.header("Content-Type")),
      let body = try? KubernetesJSON.encode(status)
    {
      response.body = body
    }
    return KubernetesError(response: response, request: request)
  }
}

/// Reads objects of any kind as JSON.
package struct JSONInformerCodec<Object: WatchedObject & Decodable>: InformerCodec {
  /// Makes the codec.
  package init() {}

  package var encoding: ResponseEncoding { .json }

  package func decodeList(_ body: [UInt8], contentType: String?) throws -> ObjectList<Object> {
    try KubernetesJSON.decodeList(of: Object.self, from: body)
  }

  package func decodeEvent(_ frame: [UInt8], contentType: String?) throws -> WatchEvent<Object> {
    try KubernetesJSON.decode(WatchEvent<Object>.self, from: frame)
  }
}
