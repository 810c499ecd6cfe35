import Foundation
package import KubernetesCore

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

/// A file or the standard input, opened for reading.
package struct InputFile {
  /// What it is called in messages.
  package let name: String
  /// How many bytes it has; nil when that isn't known (a pipe).
  package let size: Int?
  private let handle: FileHandle

  /// Opens a file; `-` is the standard input.
  package init(_ path: String) throws(KubernetesError) {
    if path == "-" {
      name = "standard input"
      size = nil
      handle = .standardInput
      return
    }
    name = path
    do {
      handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      size = attributes[.type] as? FileAttributeType == .typeRegular ? attributes[.size] as? Int : nil
    } catch {
      let exists = FileManager.default.fileExists(atPath: path)
      throw KubernetesError(
        .misconfigured, "\(path) \(exists ? "can't be read: \(error.localizedDescription)" : "doesn't exist").")
    }
  }

  /// The next bytes; nil at the end.
  package func chunk() throws(KubernetesError) -> [UInt8]? {
    do {
      return try handle.read(upToCount: 1 << 20).flatMap { $0.isEmpty ? nil : [UInt8]($0) }
    } catch {
      throw KubernetesError(.misconfigured, "\(name) can't be read: \(error.localizedDescription)")
    }
  }

  /// All bytes up to the end.
  package func all() throws(KubernetesError) -> [UInt8] {
    var bytes: [UInt8] = []
    while let next = try chunk() { bytes += next }
    return bytes
  }
}
