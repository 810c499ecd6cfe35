extension KubernetesJSON {
  /// Decodes a list of objects, item by item; throws `.malformedResponse` naming the place in the document.
  ///
  /// The same value as decoding an `ObjectList` gives. The document of a whole page takes many times what is kept of it, and
  /// what is kept lies between its remains, so that the memory is never given back: 10 MB with a thousand autoscalers.
  package static func decodeList<Item: Decodable>(
    of type: Item.Type, from bytes: some Collection<UInt8>
  ) throws(KubernetesError) -> ObjectList<Item> {
    do {
      return try list(of: type, JSONReader((bytes as? [UInt8]) ?? Array(bytes)))
    } catch let error as DecodingError {
      throw KubernetesError(.malformedResponse, "The JSON is not a valid list of \(type): \(describe(error))")
    } catch {
      throw KubernetesError(.malformedResponse, "The JSON is not a valid list of \(type): \(error)")
    }
  }

  private static func list<Item: Decodable>(of type: Item.Type, _ document: JSONReader) throws -> ObjectList<Item> {
    var reader = document
    var list = ObjectList<Item>(items: [])
    try reader.beginObject()
    var first = true
    while let key = try reader.nextKey(first: &first) {
      switch key {
      case ListKeys.metadata.rawValue:
        list.metadata =
          try reader.readNull()
          ? ListMeta() : JSONValue(reading: &reader).decoded(as: ListMeta.self, at: [ListKeys.metadata])
      case ListKeys.items.rawValue: list.items = try items(of: type, &reader)
      default: try reader.skipValue()
      }
    }
    try reader.finish()
    return list
  }

  private static func items<Item: Decodable>(of type: Item.Type, _ reader: inout JSONReader) throws -> [Item] {
    // Go writes an empty list without elements as null.
    if try reader.readNull() { return [] }
    var items: [Item] = []
    try reader.beginArray()
    var first = true
    while try reader.nextElement(first: &first) {
      let path: [any CodingKey] = [ListKeys.items, JSONIndex(intValue: items.count)]
      items.append(try JSONValue(reading: &reader).decoded(as: type, at: path))
    }
    return items
  }
}
