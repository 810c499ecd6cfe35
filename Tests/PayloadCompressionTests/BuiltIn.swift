import CCompressionDictionaries

/// The dictionaries of the program as bytes.
enum BuiltIn {
  static func bytes(id: UInt32) -> [UInt8]? {
    for index in 0..<compression_dictionary_count {
      guard let entry = compression_dictionary_at(index), entry.pointee.id == id else { continue }
      return Array(UnsafeRawBufferPointer(start: entry.pointee.bytes, count: entry.pointee.size))
    }
    return nil
  }
}
