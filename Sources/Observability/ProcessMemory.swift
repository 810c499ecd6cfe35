import CHeap

/// How this process holds memory.
package enum ProcessMemory {
  /// Keeps resident memory close to what is in use.
  ///
  /// glibc gives each thread an arena of its own, and raises the size from which blocks are mapped (and so given back)
  /// with each large block that is freed: with 10,000 pods that held 27 MB which nobody used (Benchmarks/README.md). The
  /// controller allocates little at a time from few threads, so that one arena costs it nothing.
  package static func keepHeapSmall() {
    cheap_keep_small()
  }

  /// Lets the pages go that only the start needed: code of the command line, of settings, of the first lists.
  ///
  /// A program of 40 MB touches about half of its code as it starts, and little of it later; the kernel keeps such pages
  /// mapped until memory is short. They are clean, and what is needed again comes back from the page cache in less
  /// than a microsecond a page. Gives how many bytes of code and constants it was about; 0 but on Linux, where it does
  /// nothing.
  @discardableResult
  package static func releaseStartPages() -> Int {
    cheap_release_program_pages()
  }
}
