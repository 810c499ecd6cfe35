import SwarmCoordination
import Testing

/// Slices of JSON against what they are in JSON.
@Suite("JSON slices") struct JSONSliceTests {
  private func slice(_ text: String) -> JSONSlice? { JSONSlice(Array(text.utf8)) }
  private func text(_ slice: JSONSlice?) -> String? { slice.map { String(decoding: $0.bytes, as: UTF8.self) } }

  @Test("Members and elements, whatever the spacing; the value is passed on byte for byte")
  func structure() throws {
    let value = try #require(slice(" {\"a\" : [1 , {\"b\":\"}]\\\"\"}, true],\"c\":{ \"d\" :null } ,\"a2\":\"x\"}\n"))
    let members = try #require(value.members)
    #expect(members.keys.sorted() == ["a", "a2", "c"])
    #expect(text(members["c"]) == "{ \"d\" :null }")
    let elements = try #require(members["a"]?.elements)
    #expect(elements.map { text($0) } == ["1", "{\"b\":\"}]\\\"\"}", "true"])
    #expect(elements[1].members?["b"]?.string == "}]\"")
    #expect(elements[2].boolean == true)
    #expect(members["a2"]?.string == "x")
    #expect(slice("{}")?.members?.isEmpty == true)
    #expect(slice("[]")?.elements?.isEmpty == true)
    #expect(slice("[ ]")?.elements?.isEmpty == true)
  }

  @Test(
    "What isn't JSON is nothing",
    arguments: [
      "", " ", "{", "{\"a\":1", "{\"a\"}", "[1,", "[1 2]", "}", "1 2", "\"a", ",", ":", "{\"a\":1}}", "{1:2}",
    ])
  func broken(_ text: String) {
    let value = slice(text)
    #expect(value == nil || (value?.members == nil && value?.elements == nil))
  }

  @Test("Strings with escapes, halves of pairs included")
  func strings() {
    #expect(slice(#""a\"b\\c\/d\n\t\u00e9\ud83d\ude00z""#)?.string == "a\"b\\c/d\n\té😀z")
    #expect(slice(#""\q""#)?.string == nil)
    #expect(slice(#""\u12""#)?.string == nil)
    #expect(slice("12")?.string == nil)
  }

  @Test("A quoted text reads as itself")
  func quoted() {
    for text in ["", "a\"b\\c\n\r\t\u{1}\u{1f}é😀", "}]{[,:"] {
      #expect(slice(JSONSlice.quoted(text))?.string == text)
    }
  }

  @Test("Seconds to the millisecond")
  func seconds() {
    #expect(slice("30")?.seconds == .seconds(30))
    #expect(slice("0.25")?.seconds == .milliseconds(250))
    #expect(slice("1.0004")?.seconds == .seconds(1))
    #expect(slice("-1")?.seconds == nil)
    #expect(slice("1e3")?.seconds == nil)
    #expect(slice("\"1\"")?.seconds == nil)
  }

  @Test("Deep nesting costs no stack")
  func deep() {
    let text = String(repeating: "[", count: 200_000) + String(repeating: "]", count: 200_000)
    #expect(slice(text)?.elements?.count == 1)
  }
}
