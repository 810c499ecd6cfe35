/// Cuts the byte stream of a watch into frames, one event each.
///
/// Bytes are copied once into a buffer and once out of it; each byte is looked at once, however the chunks fall.
package struct WatchFrameDecoder: Sendable {
  /// How frames are told apart.
  package enum Framing: Hashable, Sendable {
    /// JSON documents, each ended by a newline.
    case newlineDelimited
    /// Each frame preceded by its length in four bytes, big endian (Kubernetes' protobuf streams).
    case lengthDelimited
  }

  private let framing: Framing
  private let maximumFrameBytes: Int
  private var buffer: [UInt8] = []
  /// Where the unfinished frame begins in the buffer.
  private var start = 0
  /// Up to where the unfinished frame was searched for its end.
  private var searched = 0

  /// Makes a decoder; a frame of more than `maximumFrameBytes` is an error.
  package init(framing: Framing, maximumFrameBytes: Int = 16 << 20) {
    self.framing = framing
    self.maximumFrameBytes = maximumFrameBytes
  }

  /// Chooses the framing by the response's `Content-Type`.
  package init(contentType: String?, maximumFrameBytes: Int = 16 << 20) {
    let isProtobuf = contentType?.lowercased().hasPrefix(ResponseEncoding.protobufMediaType) ?? false
    self.init(framing: isProtobuf ? .lengthDelimited : .newlineDelimited, maximumFrameBytes: maximumFrameBytes)
  }

  /// The bytes of a frame that hasn't ended yet; more than 0 at the end of a stream means that it was cut off.
  package var pendingBytes: Int { buffer.count - start }

  /// Takes the next bytes of the stream; returns the frames that they complete, without their delimiters.
  package mutating func feed(_ bytes: some Collection<UInt8>) throws(KubernetesError) -> [[UInt8]] {
    buffer.append(contentsOf: bytes)
    var frames: [[UInt8]] = []
    while let frame = try next() {
      if !frame.isEmpty || framing == .lengthDelimited { frames.append(Array(frame)) }
    }
    compact()
    return frames
  }

  private mutating func next() throws(KubernetesError) -> ArraySlice<UInt8>? {
    switch framing {
    case .newlineDelimited: try nextLine()
    case .lengthDelimited: try nextLengthDelimited()
    }
  }

  private mutating func nextLine() throws(KubernetesError) -> ArraySlice<UInt8>? {
    guard let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
      searched = buffer.count
      if pendingBytes > maximumFrameBytes { throw tooLarge(pendingBytes) }
      return nil
    }
    if end - start > maximumFrameBytes { throw tooLarge(end - start) }
    var line = buffer[start..<end]
    if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
    start = end + 1
    searched = start
    return line
  }

  private mutating func nextLengthDelimited() throws(KubernetesError) -> ArraySlice<UInt8>? {
    guard pendingBytes >= 4 else { return nil }
    let length = buffer[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
    if length > maximumFrameBytes { throw tooLarge(length) }
    guard pendingBytes >= 4 + length else { return nil }
    let frame = buffer[start + 4..<start + 4 + length]
    start += 4 + length
    return frame
  }

  /// Drops what was handed out, when that is at least half of the buffer, so that each byte moves at most once.
  private mutating func compact() {
    guard start > 0, start * 2 >= buffer.count else { return }
    if start == buffer.count {
      buffer.removeAll(keepingCapacity: buffer.capacity <= 1 << 20)
    } else {
      buffer.removeFirst(start)
    }
    searched = max(0, searched - start)
    start = 0
  }

  private func tooLarge(_ count: Int) -> KubernetesError {
    KubernetesError(
      .malformedResponse,
      "A watch frame has \(count) bytes or more; at most \(maximumFrameBytes) are accepted. "
        + "Narrow the watch with a selector or raise the limit.")
  }
}
