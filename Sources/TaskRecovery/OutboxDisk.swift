import NIOPosix

/// A log of results on a thread of its own: a disk that is slow holds up nobody else.
actor OutboxDisk {
  private let log: OutboxLog
  private let executor: DiskExecutor

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  init(_ log: sending OutboxLog) {
    self.log = log
    executor = DiskExecutor()
  }

  /// Puts results and deliveries on the disk.
  func append(_ items: [OutboxLog.Item], delivered: [String]) throws(OutboxLog.Failure) {
    try log.append(items, delivered: delivered)
  }

  /// Whether the file should be written anew.
  var isWasteful: Bool { log.isWasteful }

  /// Writes the file anew.
  func rewrite(_ items: [OutboxLog.Item]) throws(OutboxLog.Failure) { try log.rewrite(items) }

  /// Ends the thread.
  func close() { executor.close() }
}

/// One thread that may block.
private final class DiskExecutor: SerialExecutor {
  private let pool = NIOThreadPool(numberOfThreads: 1)

  init() { pool.start() }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    // Also when the pool is closed: a job that never runs would hold its task for ever.
    pool.submit { _ in job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }

  func close() { pool.shutdownGracefully { _ in } }
}
