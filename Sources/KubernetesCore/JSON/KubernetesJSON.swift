#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// JSON in and out, with errors a person can act on and output that is the same each time.
package enum KubernetesJSON {
  /// Decodes `T`; throws `.malformedResponse` naming the place in the document.
  package static func decode<T: Decodable>(
    _ type: T.Type, from bytes: some Collection<UInt8>
  ) throws(KubernetesError) -> T {
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch let error as DecodingError {
      throw KubernetesError(.malformedResponse, "The JSON is not a valid \(type): \(describe(error))")
    } catch {
      throw KubernetesError(.malformedResponse, "The JSON is not a valid \(type): \(error)")
    }
  }

  /// Encodes with sorted keys and without white space; equal values give equal bytes.
  package static func encode(_ value: some Encodable) throws(KubernetesError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return [UInt8](try encoder.encode(value))
    } catch {
      throw KubernetesError(.invalid, "\(type(of: value)) can't be written as JSON: \(error)")
    }
  }

  /// The JSON form of any encodable value.
  package static func value(of encodable: some Encodable) throws(KubernetesError) -> JSONValue {
    try decode(JSONValue.self, from: encode(encodable))
  }

  private static func describe(_ error: DecodingError) -> String {
    switch error {
    case .typeMismatch(let type, let context): "\(path(context)) is not a \(type)"
    case .valueNotFound(let type, let context): "\(path(context)) has no value; a \(type) is needed"
    case .keyNotFound(let key, let context): "\(path(context)) lacks the field \"\(key.stringValue)\""
    case .dataCorrupted(let context): "\(path(context)): \(context.debugDescription)"
    @unknown default: String(String(describing: error).prefix(200))
    }
  }

  private static func path(_ context: DecodingError.Context) -> String {
    var text = ""
    for key in context.codingPath {
      if let index = key.intValue {
        text += "[\(index)]"
      } else {
        text += (text.isEmpty ? "" : ".") + key.stringValue
      }
    }
    return text.isEmpty ? "the document" : text
  }
}
