package import KubernetesCore

#if canImport(System)
  import System
#else
  import SystemPackage
#endif

/// Takes a stream of bytes apart into lines, holding no more than one line and one chunk.
package struct LineReader {
  /// One line.
  package struct Line: Hashable, Sendable {
    /// Its number, from 1.
    package var number: Int
    /// Its bytes without the newline.
    package var bytes: ArraySlice<UInt8>
    /// Whether it was cut off because it is longer than `maximumLineBytes`.
    package var isCutOff: Bool
  }

  /// The longest line that is kept whole: a record of ten thousand workers has about 5 MB.
  package static let maximumLineBytes = 256 << 20

  /// How many bytes have been read.
  package private(set) var bytesRead = 0
  private let nextChunk: () throws(KubernetesError) -> [UInt8]?
  private var buffer: [UInt8] = []
  private var start = 0
  private var scanned = 0
  private var number = 0
  private var isAtEnd = false

  /// Reads what `nextChunk` gives until it gives nil.
  package init(_ nextChunk: @escaping () throws(KubernetesError) -> [UInt8]?) {
    self.nextChunk = nextChunk
  }

  /// The next line; nil at the end. A last line without a newline counts.
  package mutating func next() throws(KubernetesError) -> Line? {
    var isCutOff = false
    while true {
      if let end = buffer[scanned...].firstIndex(of: UInt8(ascii: "\n")) {
        return take(upTo: end, isCutOff: isCutOff)
      }
      scanned = buffer.count
      if buffer.count - start > Self.maximumLineBytes {
        isCutOff = true
        buffer.removeLast(buffer.count - start - 64)
        scanned = buffer.count
      }
      guard !isAtEnd, let chunk = try nextChunk() else {
        isAtEnd = true
        return start < buffer.count ? take(upTo: buffer.count, isCutOff: isCutOff) : nil
      }
      bytesRead += chunk.count
      if start > 0 {
        buffer.removeFirst(start)
        scanned -= start
        start = 0
      }
      buffer += chunk
    }
  }

  private mutating func take(upTo end: Int, isCutOff: Bool) -> Line {
    number += 1
    let bytes = buffer[start..<end]
    start = min(end + 1, buffer.count)
    scanned = start
    return Line(number: number, bytes: bytes, isCutOff: isCutOff)
  }
}

/// A file or the standard input, opened for reading; a file is closed with the last reference.
package final class InputFile {
  /// What it is called in messages.
  package let name: String
  /// How many bytes it has; nil when that isn't known (a pipe).
  package let size: Int?
  private let descriptor: FileDescriptor

  /// Opens a file; `-` is the standard input.
  package init(_ path: String) throws(KubernetesError) {
    if path == "-" {
      name = "standard input"
      size = nil
      descriptor = .standardInput
      return
    }
    name = path
    do {
      descriptor = try FileDescriptor.open(path, .readOnly)
    } catch Errno.noSuchFileOrDirectory {
      throw KubernetesError(.misconfigured, "\(path) doesn't exist.")
    } catch {
      throw KubernetesError(.misconfigured, "\(path) can't be read: \(error).")
    }
    // What can't be sought, a named pipe for one, has no known size.
    if let end = try? descriptor.seek(offset: 0, from: .end), (try? descriptor.seek(offset: 0, from: .start)) != nil {
      size = Int(end)
    } else {
      size = nil
    }
  }

  deinit {
    if descriptor != .standardInput { try? descriptor.close() }
  }

  /// The next bytes; nil at the end.
  package func chunk() throws(KubernetesError) -> [UInt8]? {
    do {
      let bytes = try [UInt8](unsafeUninitializedCapacity: 1 << 20) { buffer, count in
        count = try descriptor.read(into: UnsafeMutableRawBufferPointer(buffer))
      }
      return bytes.isEmpty ? nil : bytes
    } catch {
      throw KubernetesError(.misconfigured, "\(name) can't be read: \(error).")
    }
  }

  /// All bytes up to the end.
  package func all() throws(KubernetesError) -> [UInt8] {
    var bytes: [UInt8] = []
    while let next = try chunk() { bytes += next }
    return bytes
  }
}
