import CCompressionDictionaries
import Foundation
import Testing

@testable import PayloadCompression

@Suite struct DictionaryAssetTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Sources/CCompressionDictionaries/Dictionaries")

  @Test("The program has the dictionaries that are checked in, each within 110 KB and under its own id")
  func builtIn() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path).filter { $0.hasSuffix(".zdict") }
    #expect(names.count == compression_dictionary_count && !names.isEmpty)
    for name in names {
      let file = [UInt8](try Data(contentsOf: Self.folder.appendingPathComponent(name)))
      let id = try #require(UInt32(name.dropLast(".zdict".count)))
      #expect(BuiltIn.bytes(id: id) == file, "\(name): run scripts/train-dictionary")
      #expect(file.count <= 110_000 && CompressionDictionary(bytes: file)?.id == id)
    }
    #expect(names.contains("\(PayloadCodec.packingDictionary).zdict"))
  }
}
