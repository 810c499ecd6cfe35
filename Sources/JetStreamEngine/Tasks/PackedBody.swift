import CoordinationEngine
import MessageFrames
import NATSClient
import NIOCore
import PayloadCompression

/// Payloads and results as they stand in the streams: packed where it pays, and then a header says how.
///
/// `Swarm-Packed: ENCODING DICTIONARY BYTES`, the first two as in frames, the last what it unpacks to. What has no such header is as it was
/// submitted. A program reads all that it knows of; one that is newer may pack what an older one can't read, so what packs comes a release after
/// what reads (docs/messages.md).
enum PackedBody {
  static let header = "Swarm-Packed"
  /// The most bytes that a body unpacks to, whatever its header says: what a server takes as one message at the very most.
  static let limit = 8 << 20
  /// One for a process: its contexts are a megabyte or two.
  static let codec = PayloadCodec()

  /// A body as it is stored, with the headers for it.
  static func pack(_ body: [UInt8], _ headers: NATSHeaders) -> (payload: ByteBuffer, headers: NATSHeaders) {
    guard let packed = body.withUnsafeBytes({ codec.compress($0) }) else { return (ByteBuffer(bytes: body), headers) }
    var headers = headers
    headers.append(header, "\(packed.encoding.rawValue) \(packed.dictionary) \(body.count)")
    return (ByteBuffer(bytes: packed.bytes), headers)
  }

  /// The body of a message that was stored.
  ///
  /// Throws `corrupt` where it can't be read: damaged, a bomb, or packed by a newer program.
  static func unpack(_ payload: ByteBuffer, _ headers: NATSHeaders) throws(EngineError) -> [UInt8] {
    guard let text = headers[header] else { return Array(payload.readableBytesView) }
    let fields = text.split(separator: " ")
    guard fields.count == 3, let encoding = UInt8(fields[0]).flatMap(FrameEncoding.init(rawValue:)), encoding != .raw,
      let dictionary = UInt32(fields[1]), let size = Int(fields[2]), (0...limit).contains(size)
    else {
      throw .corrupt("the task's content is packed as \"\(text.prefix(60))\", which this program can't read; update it")
    }
    do throws(FrameError) {
      return try codec.inflate(
        CompressedPayload(encoding: encoding, dictionary: dictionary, bytes: Array(payload.readableBytesView)),
        size: size)
    } catch {
      throw .corrupt("the task's content can't be unpacked: \(error)")
    }
  }
}
