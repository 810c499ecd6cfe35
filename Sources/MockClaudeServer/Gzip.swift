import CZlib

/// Decompresses request bodies.
enum Gzip {
  /// Why a body can't be had.
  enum Failure: Error {
    case invalid
    case tooLarge
  }

  /// The content of a gzip or zlib stream, at most `limit` bytes.
  static func decompress(_ bytes: [UInt8], limit: Int) throws(Failure) -> [UInt8] {
    var stream = z_stream()
    // 32 more than the window: the header tells whether it's gzip or zlib.
    guard inflateInit2_(&stream, 47, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { throw .invalid }
    defer { inflateEnd(&stream) }
    var (input, output) = (bytes, [UInt8]())
    var chunk = [UInt8](repeating: 0, count: 65_536)
    var offset = 0
    while true {
      let status = input.withUnsafeMutableBufferPointer { source in
        chunk.withUnsafeMutableBufferPointer { target in
          stream.next_in = source.baseAddress?.advanced(by: offset)
          stream.avail_in = UInt32(source.count - offset)
          stream.next_out = target.baseAddress
          stream.avail_out = UInt32(target.count)
          let status = inflate(&stream, Z_NO_FLUSH)
          (stream.next_in, stream.next_out) = (nil, nil)
          return status
        }
      }
      offset = input.count - Int(stream.avail_in)
      output.append(contentsOf: chunk[..<(chunk.count - Int(stream.avail_out))])
      guard output.count <= limit else { throw .tooLarge }
      if status == Z_STREAM_END { return output }
      // Anything else but progress is a broken or cut stream.
      guard status == Z_OK, stream.avail_out == 0 || offset < input.count else { throw .invalid }
    }
  }
}
