import NIOCore

/// Runs tasks on the thread of an event loop, where their channels are.
///
/// A request is much waiting and little work: with tasks on threads of their own, each read and write crossed to the event
/// loop and back, eighteen changes of thread a request (Benchmarks/README.md).
final class EventLoopTaskExecutor: TaskExecutor {
  private let loop: any EventLoop

  /// Makes an executor on an event loop.
  init(_ loop: any EventLoop) {
    self.loop = loop
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
