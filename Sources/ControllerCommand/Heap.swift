import CHeap

/// How the C library's allocator serves this process.
enum Heap {
  /// Keeps resident memory close to what is in use.
  ///
  /// glibc gives each thread an arena of its own, and raises the size from which blocks are mapped (and so given back)
  /// with each large block that is freed: with 10,000 pods that held 27 MB which nobody used (Benchmarks/README.md). The
  /// controller allocates little at a time from few threads, so that one arena costs it nothing.
  static func keepSmall() {
    cheap_keep_small()
  }
}
