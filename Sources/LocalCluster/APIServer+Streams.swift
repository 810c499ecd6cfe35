import Hummingbird
import KubernetesCore
import KubernetesRuntime
import LocalAPI

extension APIServer {
  // MARK: Watches

  /// A watch: as many changes as its reader takes, in order, until its time is up or its reader is gone.
  ///
  /// Nothing is queued for a slow reader: it has a place in the log of changes, and once the log has moved past that place
  /// it is told so (410) and has to list again.
  func stream(_ watch: WatchRequest, _ request: Request) -> Response {
    Response(
      status: .ok, headers: [.contentType: "application/json"],
      body: .init { writer in
        let frames = FrameWriter(writer)
        // A reader that goes away while nothing happens must be noticed.
        try await request.body.consumeWithCancellationOnInboundClose { _ in
          try await send(watch, frames)
        }
        try await frames.finish()
      })
  }

  private func send(_ watch: WatchRequest, _ writer: FrameWriter) async throws {
    let (id, wakeup) = hub.addWatcher()
    defer { hub.removeWatcher(id) }
    let end = time.monotonicNow + (watch.timeout ?? configuration.watchTimeout)
    var version = watch.version
    var told = version
    var nextBookmark = time.monotonicNow + configuration.bookmarkInterval
    try await writer.write(hub.initialFrames(for: watch))
    while !hub.isClosed {
      let frames: [JSONValue]
      let isMore: Bool
      switch hub.changes(for: watch, after: version) {
      case .success(let news): (frames, version, isMore) = news
      case .failure(let expired):
        let status = APIFailure(
          410, "Expired", "too old resource version: \(expired.version) (\(expired.oldest))"
        ).status
        return try await writer.write([["type": "ERROR", "object": status]])
      }
      if !frames.isEmpty {
        try await writer.write(frames)
        told = version
      }
      let now = time.monotonicNow
      if now >= end {
        if watch.wantsBookmarks, told != version { try await writer.write([hub.bookmark(watch, version)]) }
        return
      }
      if isMore { continue }
      if watch.wantsBookmarks, now >= nextBookmark {
        try await writer.write([hub.bookmark(watch, version)])
        told = version
        nextBookmark = now + configuration.bookmarkInterval
      }
      try await wakeup.wait(until: min(end, watch.wantsBookmarks ? nextBookmark : end), time)
    }
  }

  // MARK: Logs

  func stream(_ log: LogRequest, _ request: Request) async -> Response {
    let pieces: any AsyncSequence<[UInt8], any Error> & Sendable
    do throws(ClusterLogError) {
      pieces = try await logs.log(log)
    } catch {
      return Self.document(400, APIFailure(400, "BadRequest", error.message).status)
    }
    return Response(
      status: .ok, headers: [.contentType: "text/plain"],
      body: .init { writer in
        let frames = FrameWriter(writer)
        try await request.body.consumeWithCancellationOnInboundClose { _ in
          try await send(pieces, limit: log.limitBytes, frames)
        }
        try await frames.finish()
      })
  }

  private func send(
    _ pieces: any AsyncSequence<[UInt8], any Error> & Sendable, limit: Int?, _ writer: FrameWriter
  ) async throws {
    var left = limit ?? .max
    for try await piece in pieces {
      let sent = piece.prefix(left)
      try await writer.write(Array(sent))
      left -= sent.count
      if left == 0 { return }
    }
  }
}

/// Writes the pieces of a streamed answer.
///
// Sendable: Hummingbird's writer is a value that one task at a time uses: the closure that got it makes this, hands it to the
// one task that writes, and takes it back for the end only after that task has ended.
final class FrameWriter: @unchecked Sendable {
  private var writer: any ResponseBodyWriter

  init(_ writer: any ResponseBodyWriter) {
    self.writer = writer
  }

  /// Writes frames of a watch, each on a line of its own.
  func write(_ frames: [JSONValue]) async throws {
    guard !frames.isEmpty else { return }
    var bytes: [UInt8] = []
    for frame in frames {
      bytes += frame.text
      bytes.append(UInt8(ascii: "\n"))
    }
    try await write(bytes)
  }

  func write(_ bytes: [UInt8]) async throws {
    try await writer.write(ByteBuffer(bytes: bytes))
  }

  func finish() async throws {
    try await writer.finish(nil)
  }
}
