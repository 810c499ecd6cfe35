import Foundation
import KubernetesCore
import Testing

/// The platform's decoder and encoder are the oracle for our own.
@Suite("JSON texts")
struct JSONTextTests {
  /// What Foundation makes of a text; nil when it refuses it.
  private static func oracle(_ text: some Sequence<UInt8>) -> JSONValue? {
    try? JSONDecoder().decode(JSONValue.self, from: Data(text))
  }

  private static let good = [
    "null", " true ", "false", "0", "-0", "-1", "12.5", "1e3", "2.0", "1E-2", "9223372036854775807",
    "-9223372036854775808", "123456789012345680000", "0.1", "5e-324", #""""#, #""a\"\\\/\b\f\n\r\tz""#,
    #""\u00e9\u20AC""#,
    #""\ud83d\ude00""#, #""é€😀""#, "[]", "[ ]", "[1,[2,[3]]]", "{}", #"{"a":1,"b":{"c":[null]}}"#,
    "\t{\r\n\"a\" : [ 1 , 2 ] }\n", #"{"":0}"#, #"{"a\u0062":1}"#,
  ]

  private static let bad = [
    "", " ", "nul", "nulll", "truefalse", "01", "-", "1.", ".5", "+1", "1e", "1e+", "0x1", "NaN", "Infinity", "1e999",
    "'a'",
    #"""#, #""a"#, #""\x""#, #""\u12""#, #""\u12G4""#, #""\ud800""#, #""\udc00""#, #""\ud800\u0041""#, "\"\u{01}\"",
    "\"\n\"",
    "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", #"{"a""#, #"{"a":"#, #"{"a":1"#, #"{"a":1,}"#, #"{,"a":1}"#,
    "{a:1}",
    #"{"a" 1}"#, #"{"a":1 "b":2}"#, "1 2", "{}x", "]", "}", "[1}", "// comment\n1",
  ]

  @Test("Valid texts give what Foundation reads", arguments: good)
  func readsValidTexts(_ text: String) throws {
    let value = try JSONValue(parsing: Array(text.utf8))
    #expect(value == Self.oracle(text.utf8))
    var reader = JSONReader(Array(text.utf8))
    try reader.skipValue()
    try reader.finish()
    #expect(try JSONValue(parsing: value.text) == value)
  }

  @Test("Invalid texts are refused, also when they are skipped", arguments: bad)
  func refusesInvalidTexts(_ text: String) {
    #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: Array(text.utf8)) }
    if text != "1e999" {
      #expect(throws: JSONSyntaxError.self) {
        var reader = JSONReader(Array(text.utf8))
        try reader.skipValue()
        try reader.finish()
      }
    }
  }

  @Test(
    "Text that is no UTF-8 is refused, in plain and in escaped strings",
    arguments: [[0xFF], [0xC3], [0xED, 0xA0, 0x80]])
  func refusesInvalidUTF8(_ bytes: [UInt8]) {
    let quote = UInt8(ascii: "\"")
    #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: [quote] + bytes + [quote]) }
    #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: [quote] + Array(#"\n"#.utf8) + bytes + [quote]) }
  }

  @Test("Nesting is bounded, so that no text can exhaust the stack")
  func boundsNesting() throws {
    let depth = JSONReader.maximumDepth
    let deep = { (count: Int) in
      Array((String(repeating: "[", count: count) + String(repeating: "]", count: count)).utf8)
    }
    #expect(try JSONValue(parsing: deep(depth)).arrayValue != nil)
    #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: deep(depth + 1)) }
    #expect(throws: JSONSyntaxError.self) {
      try JSONValue(parsing: Array(repeating: UInt8(ascii: "["), count: 100_000))
    }
  }

  @Test("An error tells where it is")
  func tellsPlaces() {
    let error = #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: Array(#"{"a":1,"b":tru}"#.utf8)) }
    #expect(error?.offset == 11)
  }

  @Test(
    "Random documents, whole and damaged, are read and refused as by Foundation", arguments: 0..<20 as Range<UInt64>)
  func agreesOnRandomTexts(seed: UInt64) throws {
    var random = SplitMix(state: seed)
    for _ in 0..<100 {
      let value = Self.document(&random, depth: 0)
      let text = value.text
      #expect(try JSONValue(parsing: text) == value)
      #expect(Self.oracle(text) == value)
      var damaged = text
      let place = Int(random.next() % UInt64(damaged.count))
      switch random.next() % 3 {
      case 0: damaged.remove(at: place)
      case 1: damaged.insert(Array("{}[]\",:0 \\eu\u{1}".utf8)[Int(random.next() % 13)], at: place)
      default: damaged = Array(damaged[..<place])
      }
      // Foundation takes 01.5 for a number; RFC 8259 doesn't.
      if Self.hasLeadingZero(damaged) { continue }
      let ours = try? JSONValue(parsing: damaged)
      #expect(ours == Self.oracle(damaged), "\(String(decoding: damaged, as: UTF8.self))")
    }
  }

  private static func hasLeadingZero(_ text: [UInt8]) -> Bool {
    String(decoding: text, as: UTF8.self).contains(/(^|[^0-9.eE+])0[0-9]/)
  }

  private static func document(_ random: inout SplitMix, depth: Int) -> JSONValue {
    let texts = ["", "a", "worker-7", "é€😀", "tab\tquote\"\\", "\u{1}"]
    switch random.next() % (depth > 3 ? 5 : 7) {
    case 0: return .null
    case 1: return .bool(random.next() % 2 == 0)
    case 2: return .int(Int64(bitPattern: random.next()) >> (random.next() % 60))
    case 3: return .double(Double(Int64(bitPattern: random.next()) >> 40) + 0.5)
    case 4: return .string(texts[Int(random.next() % 6)])
    case 5: return .array((0..<(random.next() % 4)).map { _ in document(&random, depth: depth + 1) })
    default:
      var members: [String: JSONValue] = [:]
      for index in 0..<(random.next() % 4) { members["k\(index)"] = document(&random, depth: depth + 1) }
      return .object(members)
    }
  }

  private struct SplitMix {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }
}

@Suite("Coding through JSON values")
struct JSONCodingTests {
  /// Every way in which a type can ask for a value.
  private struct Everything: Codable, Equatable {
    struct Inner: Codable, Equatable {
      var list: [Int8] = [-1, 0, 1]
      var matrix: [[UInt16]] = [[1], [], [2, 3]]
    }
    enum Choice: String, Codable { case one, two }
    enum Shape: Codable, Equatable { case circle(radius: Double), point }

    var flag = true
    var text = "é"
    var small: Int8 = -8
    var unsigned: UInt32 = 4_000_000_000
    var large: Int64 = .min
    var number = 0.25
    var float: Float = 1.5
    var missing: Int?
    var present: Int? = 5
    var optionals: [String?] = ["a", nil]
    var inner = Inner()
    var map = ["x": Inner(list: [], matrix: [])]
    var numbered = [3: "three"]
    var choice = Choice.two
    var shapes = [Shape.circle(radius: 2), .point]
    var any: JSONValue = ["k": [1, .null, 2.5]]
  }

  @Test("Both directions agree with Foundation's coders")
  func agreesWithFoundation() throws {
    let value = Everything()
    let ours = try KubernetesJSON.encode(value)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    #expect(String(decoding: ours, as: UTF8.self) == String(decoding: try encoder.encode(value), as: UTF8.self))
    #expect(try KubernetesJSON.decode(Everything.self, from: ours) == value)
    #expect(try KubernetesJSON.decode(Everything.self, from: KubernetesJSON.value(of: value)) == value)
  }

  @Test(
    "What doesn't fit is refused with its place",
    arguments: [
      (#"{"list":[1,300],"matrix":[]}"#, "list[1]"), (#"{"list":[1.5],"matrix":[]}"#, "list[0]"),
      (#"{"list":["1"],"matrix":[]}"#, "list[0]"), (#"{"list":{},"matrix":[]}"#, "list"),
      (#"{"matrix":[]}"#, "\"list\""),
      (#"{"list":null,"matrix":[]}"#, "list"), (#"{"list":[true],"matrix":[]}"#, "list[0]"),
      (#"{"list":[],"matrix":[[1],[-1]]}"#, "matrix[1][0]"),
    ])
  func refusesWhatDoesNotFit(_ text: String, _ place: String) {
    let error = #expect(throws: KubernetesError.self) {
      try KubernetesJSON.decode(Everything.Inner.self, from: Array(text.utf8))
    }
    #expect(error?.message.contains(place) == true, "\(error?.message ?? "")")
    #expect(throws: DecodingError.self) { try JSONDecoder().decode(Everything.Inner.self, from: Data(text.utf8)) }
  }

  @Test("A number that JSON can't write is refused", arguments: [Double.nan, .infinity, -.infinity])
  func refusesNonFinite(_ number: Double) {
    #expect(throws: KubernetesError.self) { try KubernetesJSON.encode(["a": [number]]) }
    #expect(throws: KubernetesError.self) { try KubernetesJSON.encode(["a": number]) }
  }
}
