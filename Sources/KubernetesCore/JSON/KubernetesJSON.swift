/// JSON in and out, with errors a person can act on and output that is the same each time.
package enum KubernetesJSON {
  /// Decodes `T`; throws `.malformedResponse` naming the place in the document.
  package static func decode<T: Decodable>(
    _ type: T.Type, from bytes: some Collection<UInt8>
  ) throws(KubernetesError) -> T {
    try decode(type, from: parse(bytes, for: type))
  }

  /// Decodes `T` from a document that was parsed before.
  package static func decode<T: Decodable>(_ type: T.Type, from document: JSONValue) throws(KubernetesError) -> T {
    do {
      return try document.decoded(as: type)
    } catch let error as DecodingError {
      throw KubernetesError(.malformedResponse, "The JSON is not a valid \(type): \(describe(error))")
    } catch {
      throw KubernetesError(.malformedResponse, "The JSON is not a valid \(type): \(error)")
    }
  }

  /// Parses a document; `type` is what it will be read as, for the error's text.
  package static func parse(
    _ bytes: some Collection<UInt8>, for type: Any.Type = JSONValue.self
  ) throws(KubernetesError) -> JSONValue {
    do throws(JSONSyntaxError) {
      return try JSONValue(parsing: (bytes as? [UInt8]) ?? Array(bytes))
    } catch {
      throw KubernetesError(.malformedResponse, "The JSON is not a valid \(type): \(error)")
    }
  }

  /// Encodes with sorted keys and without white space; equal values give equal bytes.
  package static func encode(_ value: some Encodable) throws(KubernetesError) -> [UInt8] {
    try self.value(of: value).text
  }

  /// The JSON form of any encodable value.
  package static func value(of encodable: some Encodable) throws(KubernetesError) -> JSONValue {
    do {
      return try JSONValue(encoding: encodable)
    } catch {
      throw KubernetesError(.invalid, "\(type(of: encodable)) can't be written as JSON: \(error)")
    }
  }

  static func describe(_ error: DecodingError) -> String {
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
