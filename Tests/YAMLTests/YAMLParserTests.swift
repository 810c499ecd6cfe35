import KubernetesCore
import KubernetesYAML
import Testing

@testable import YAML

@Suite("YAML")
struct YAMLParserTests {
  private func json(_ text: String) throws -> JSONValue? {
    try YAMLParser.document(of: text).map { try YAMLDocument($0).json }
  }

  @Test("Documents come one after the other, with the lines of their fields")
  func documents() throws {
    let text = "# first\na:\n  b: [1, two]\n---\n---\nc: |\n  x\n  y\n...\n"
    let documents = try YAMLParser.documents(of: text)
    #expect(documents.count == 3)
    #expect(documents[1].isNull)
    let (found, problem) = YAMLDocument.read(Array(text.utf8))
    #expect(problem == nil)
    #expect(found.map(\.json) == [["a": ["b": [1, "two"]]], ["c": "x\ny\n"]])
    #expect(found[0].line(of: "a.b[1]") == 3)
    #expect(found[0].line(of: "a.missing") == 2)
    #expect(found[1].line(of: "c") == 6)
  }

  @Test(
    "A scalar is text unless it is plain; a tag for text makes it text",
    arguments: [
      ("x: 5", .int(5)), ("x: '5'", .string("5")), ("x: !!str 5", .string("5")), ("x: !!int 5", .int(5)),
      ("x: !own 5", .string("5")), ("x: ~", .null), ("x: '~'", .string("~")), ("x:", .null), ("x: ''", .string("")),
      ("x: on", .bool(true)), ("x: -0x10", .int(-16)), ("x: 9223372036854775807", .int(.max)),
      ("x: -9223372036854775808", .int(.min)), ("x: .inf", .string(".inf")), ("x: 1e999", .string("1e999")),
      ("x: 2026-11-28", .string("2026-11-28")), ("x: \"\\u00e9\\0\"", .string("é\u{0}")),
    ] as [(String, JSONValue)])
  func scalars(text: String, expected: JSONValue) throws {
    #expect(try json(text) == ["x": expected])
  }

  @Test("Aliases stand for what they name, merges give way to what is written, anchors end with their document")
  func aliases() throws {
    #expect(
      try json("base: &b {a: 1, c: 2}\nuse: {<<: *b, a: 3}\nlist: [*b]")
        == ["base": ["a": 1, "c": 2], "use": ["a": 3, "c": 2], "list": [["a": 1, "c": 2]]])
    #expect(throws: YAMLError.self) { try YAMLParser.documents(of: "a: &x 1\n---\nb: *x\n") }
  }

  @Test(
    "What can't be read is refused with its line",
    arguments: [
      ("a: 1\na: 2\n", 2, "twice: a"), ("a: [1,\nb: 2\n", 3, ""), ("a: 1\n\tb: 2\n", 2, ""),
      ("a: *nobody\n", 1, "alias"),
      ("? [a]\n: 1\n", 1, "a name must be a text"), ("a: 1\n--- 2\n--- 3\n", 2, "second document"),
      ("a: \u{1}\n", 1, "control characters"),
    ])
  func refused(text: String, line: Int, words: String) throws {
    let error = #expect(throws: YAMLError.self) { try YAMLParser.document(of: text) }
    #expect(error?.line == line, "\(String(describing: error))")
    #expect(error?.description.contains(words) == true, "\(String(describing: error))")
  }

  @Test("Nesting without end and aliases of aliases are refused, not followed")
  func hostile() throws {
    let nested = String(repeating: "[", count: 100_000)
    let error = #expect(throws: YAMLError.self) { try YAMLParser.document(of: nested) }
    #expect(error?.problem.contains("nested") == true)
    var laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in 1..<12 {
      let alias = "*a\(level - 1)"
      laughs += "a\(level): &a\(level) [\(Array(repeating: alias, count: 10).joined(separator: ", "))]\n"
    }
    // Small as long as nobody walks through it …
    let root = try #require(try YAMLParser.document(of: laughs))
    // … and whoever does stops.
    let large = #expect(throws: YAMLError.self) { try YAMLDocument(root) }
    #expect(large?.problem.contains("too large") == true)
  }

  @Test("No text crashes it: every prefix of a document, and each byte of it changed")
  func mutations() throws {
    let text = Array("a: &x {b: [1, 'two', \"th\\n\"], c: *x2}\n? k\n: |\n  t\n---\n- !!str 5\n- <<: {}\n".utf8)
    for count in 0...text.count { _ = YAMLDocument.read(Array(text[..<count])) }
    for index in text.indices {
      for byte in [0, 0x09, 0x0A, 0x22, 0x27, 0x2A, 0x3A, 0x5B, 0x7B, 0xC3, 0xFF] as [UInt8] {
        var changed = text
        changed[index] = byte
        _ = YAMLDocument.read(changed)
      }
    }
  }
}
