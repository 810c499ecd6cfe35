#if os(Linux)
  import Foundation
  import Testing

  @testable import Observability

  @Suite("Memory of the process") struct ProcessMemoryTests {
    @Test("Pages of code and constants go, and come back when they are used")
    func startPagesGo() throws {
      let before = try filePages()
      let released = ProcessMemory.releaseStartPages()
      let after = try filePages()
      // Some come back while this is read, and other tests run beside it.
      #expect(after < before)
      #expect(released > after * 4096)
      #expect("\(["a": 1.5])" == #"["a": 1.5]"#)
    }

    /// Resident pages of files, of `/proc/self/statm`.
    private func filePages() throws -> Int {
      let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
      return try #require(Int(text.split(separator: " ")[2]))
    }
  }
#endif
