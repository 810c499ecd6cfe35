import Foundation
import Testing

@testable import StatusPage

/// The files in Sources/StatusPage/Assets, and their copies in the program.
@Suite struct PageAssetsTests {
  private static let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Sources/StatusPage/Assets")

  private static let copies: [(file: String, path: String)] = [
    ("index.html", "/"), ("app.js", "/app.js"), ("charts.js", "/charts.js"), ("theme.js", "/theme.js"),
    ("style.css", "/style.css"), ("icon.svg", "/icon.svg"),
  ]

  @Test("The program carries the files as they are; else run scripts/generate-page-assets")
  func areCurrent() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path).sorted()
    #expect(names == Self.copies.map(\.file).sorted())
    for (file, path) in Self.copies {
      let text = try String(contentsOf: Self.folder.appendingPathComponent(file), encoding: .utf8)
      let copy = PageAssets.asset(at: path).map { String(decoding: $0.bytes, as: UTF8.self) }
      #expect(copy == text, "\(file): run scripts/generate-page-assets")
    }
  }

  @Test("No file makes markup out of text, and none needs more than the content security policy allows")
  func isStrict() throws {
    let banned = [
      "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "javascript:",
      "http://", "https://", " onclick=", " onload=", " style=", "@import", "url(",
    ]
    for (file, _) in Self.copies {
      let text = try String(contentsOf: Self.folder.appendingPathComponent(file), encoding: .utf8)
        .replacingOccurrences(of: "http://www.w3.org/2000/svg", with: "")
      for word in banned { #expect(!text.contains(word), "\(file) has \(word)") }
    }
    let index = try String(contentsOf: Self.folder.appendingPathComponent("index.html"), encoding: .utf8)
    #expect(index.components(separatedBy: "<script").count == index.components(separatedBy: "<script ").count)
    #expect(!index.contains("<style"))
  }

  @Test("All of it is small: it is in the controller's memory once it is looked at")
  func isSmall() {
    let size = Self.copies.reduce(0) { $0 + (PageAssets.asset(at: $1.path)?.bytes.count ?? 0) }
    #expect(size < 100_000)
  }
}
