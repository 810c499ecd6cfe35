import MessageFrames

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Results on the disk of this machine: an append-only file of records, each with its checksum.
///
/// | at | bytes | |
/// |---|---|---|
/// | 0 | 4 | `SWO1` |
/// | 4 | 4 | CRC-32C of all after it |
/// | 8 | 1 | 1: a result; 2: it is delivered |
/// | 9 | 2 | bytes of the key |
/// | 11 | 4 | bytes of the result |
/// | 15 | | key, result |
///
/// A torn or changed record is passed over, and those after it are found by their first four bytes: what damages one result doesn't take
/// others along. Not for several threads at a time.
package final class OutboxLog {
  /// What is kept.
  package struct Item: Hashable, Sendable {
    /// Names the result.
    package var key: String
    /// The result.
    package var payload: [UInt8]

    /// Puts it together.
    package init(key: String, payload: [UInt8]) {
      self.key = key
      self.payload = payload
    }
  }

  /// The disk doesn't take or give something.
  package struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried, and the system's reason.
    package let description: String
    /// Whether another process has the file.
    package let isTaken: Bool

    init(_ what: String, _ path: String, isTaken: Bool = false) {
      description = "\(what) \(path): \(String(cString: strerror(errno)))"
      self.isTaken = isTaken
    }
  }

  static let header = 15
  private let path: String
  private let folder: String
  private let fileBytes: Int
  private var file: Int32
  private var length: Int
  private var live: [String: Int] = [:]
  private var liveBytes = 0
  /// What was read when it was opened.
  package private(set) var recovered: [Item] = []
  /// Results that couldn't be read then.
  package private(set) var damaged = 0

  /// Opens `outbox.log` in a folder, which is made where it is missing, for this process alone. What would make it larger than `fileBytes` is refused
  /// as by a full disk: three times what an outbox holds by default.
  package init(folder: String, fileBytes: Int = 192 << 20) throws(Failure) {
    self.fileBytes = fileBytes
    self.folder = folder
    path = "\(folder)/outbox.log"
    if mkdir(folder, 0o700) != 0, errno != EEXIST { throw Failure("cannot make", folder) }
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw Failure("cannot open", path) }
    guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
      let failure = Failure("another process uses", path, isTaken: true)
      close(file)
      throw failure
    }
    length = 0
    do throws(Failure) {
      let bytes = try read()
      let found = Self.parse(bytes)
      (recovered, damaged) = (found.items, found.damaged)
      for item in recovered { note(item) }
      // A torn end would hide what is appended to it, and what is damaged is told once.
      if found.damaged > 0 || found.isTorn { try rewrite(recovered) } else { length = bytes.count }
    } catch {
      close(file)
      throw error
    }
  }

  deinit { close(file) }

  /// Bytes of the file.
  package var bytes: Int { length }

  /// Appends results and deliveries; they are on the disk when this returns. After an error none of them counts.
  package func append(_ items: [Item], delivered: [String] = []) throws(Failure) {
    var bytes: [UInt8] = []
    for item in items { bytes += Self.record(1, item.key, item.payload) }
    for key in delivered where live[key] != nil { bytes += Self.record(2, key, []) }
    guard !bytes.isEmpty else { return }
    guard length + bytes.count <= fileBytes else {
      errno = ENOSPC
      throw Failure("cannot write", path)
    }
    do throws(Failure) {
      try write(bytes, at: length)
      guard fdatasync(file) == 0 else { throw Failure("cannot sync", path) }
    } catch {
      // A half of it would be found again.
      ftruncate(file, off_t(length))
      throw error
    }
    length += bytes.count
    for item in items { note(item) }
    for key in delivered { forget(key) }
  }

  /// Whether more of the file is of no use than of use.
  package var isWasteful: Bool { length > 2 * (liveBytes + Self.header * live.count) + 1 << 20 }

  /// Writes the file anew with these results alone.
  package func rewrite(_ items: [Item]) throws(Failure) {
    let next = "\(path).new"
    let new = open(next, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard new >= 0, flock(new, LOCK_EX | LOCK_NB) == 0 else { throw Failure("cannot make", next) }
    let old = file
    file = new
    var bytes: [UInt8] = []
    for item in items { bytes += Self.record(1, item.key, item.payload) }
    do throws(Failure) {
      try write(bytes, at: 0)
      guard fdatasync(new) == 0, rename(next, path) == 0 else { throw Failure("cannot replace", path) }
    } catch {
      file = old
      close(new)
      unlink(next)
      throw error
    }
    close(old)
    syncFolder()
    (length, live, liveBytes) = (bytes.count, [:], 0)
    for item in items { note(item) }
  }

  private func note(_ item: Item) {
    liveBytes += item.key.utf8.count + item.payload.count - (live[item.key] ?? 0)
    live[item.key] = item.key.utf8.count + item.payload.count
  }

  private func forget(_ key: String) { liveBytes -= live.removeValue(forKey: key) ?? 0 }

  // MARK: Records

  static func record(_ kind: UInt8, _ key: String, _ payload: [UInt8]) -> [UInt8] {
    var body: [UInt8] = [kind]
    let name = Array(key.utf8.prefix(Int(UInt16.max)))
    body.append(number: UInt16(name.count))
    body.append(number: UInt32(payload.count))
    body += name + payload
    var record = Array("SWO1".utf8)
    record.append(number: Checksum.crc32c(body))
    return record + body
  }

  /// The results in a file's bytes that aren't delivered, in their order; how many records were damaged, and whether the end is torn.
  package static func parse(_ bytes: [UInt8]) -> (items: [Item], damaged: Int, isTorn: Bool) {
    let magic = Array("SWO1".utf8)
    var order: [String] = []
    var payloads: [String: [UInt8]] = [:]
    var (position, damaged, isInside) = (0, 0, false)
    while position < bytes.count {
      if let found = record(bytes, at: position) {
        (position, isInside) = (found.end, false)
        if found.kind == 2 {
          payloads[found.key] = nil
        } else if payloads.updateValue(found.payload, forKey: found.key) == nil {
          order.append(found.key)
        }
        continue
      }
      if !isInside { damaged += 1 }
      isInside = true
      position += 1
      while position + 4 <= bytes.count, !bytes[position..<position + 4].elementsEqual(magic) { position += 1 }
      if position + 4 > bytes.count { break }
    }
    var seen: Set<String> = []
    let items = order.compactMap { key in
      payloads[key].flatMap { seen.insert(key).inserted ? Item(key: key, payload: $0) : nil }
    }
    return (items, isInside ? damaged - 1 : damaged, isInside)
  }

  private static func record(
    _ bytes: [UInt8], at start: Int
  ) -> (kind: UInt8, key: String, payload: [UInt8], end: Int)? {
    guard bytes.count - start >= header, bytes[start..<start + 4].elementsEqual("SWO1".utf8) else { return nil }
    var reader = RecordReader(Array(bytes[start + 4..<start + header]))
    guard let sum = reader.number(UInt32.self), let kind = reader.number(UInt8.self), kind == 1 || kind == 2,
      let name = reader.number(UInt16.self), let length = reader.number(UInt32.self)
    else { return nil }
    let end = start + header + Int(name) + Int(length)
    guard end <= bytes.count, Checksum.crc32c(Array(bytes[start + 8..<end])) == sum else { return nil }
    let (key, payload) = (start + header, start + header + Int(name))
    return (kind, String(decoding: bytes[key..<payload], as: UTF8.self), Array(bytes[payload..<end]), end)
  }

  // MARK: The file

  private func read() throws(Failure) -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      var failed = false
      let part = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
        let read = pread(file, buffer.baseAddress, 1 << 16, off_t(bytes.count))
        failed = read < 0
        count = max(0, read)
      }
      guard !failed else { throw Failure("cannot read", path) }
      guard !part.isEmpty else { return bytes }
      bytes += part
      // Whatever it is, no outbox has written it.
      guard bytes.count <= fileBytes + 1 << 16 else {
        errno = EFBIG
        throw Failure("cannot read", path)
      }
    }
  }

  private func write(_ bytes: [UInt8], at start: Int) throws(Failure) {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        pwrite(file, buffer.baseAddress?.advanced(by: written), bytes.count - written, off_t(start + written))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw Failure("cannot write", path) }
      written += count
    }
  }

  private func syncFolder() {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }
}
