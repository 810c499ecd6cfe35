import HPAReference
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct HPAQuantityTests {
  @Test(
    "a quantity's thousandths are rounded away from zero",
    arguments: [
      ("0", 0), ("1", 1000), ("250m", 250), ("0.3384", 339), ("-0.3384", -339), ("1815118145n", 1816),
      ("2167314u", 2168), ("1n", 1), ("0.0000000001", 1), ("12Gi", 12_884_901_888_000), ("7417M", 7_417_000_000_000),
      ("1.5Ki", 1_536_000), ("3e2", 300_000), ("2E1", 20_000), ("1k", 1_000_000), ("+5", 5000), (".5", 500),
      ("5.", 5000), ("9223372036854775807m", .max),
    ] as [(String, Int64)])
  func milliValue(text: String, expected: Int64) throws {
    let quantity = try #require(HPAQuantity(text))
    #expect(quantity.milliValue == expected)
  }

  @Test("what Kubernetes refuses is refused", arguments: ["", "-", ".", "1x", "1 m", "one", "1mm", "1e", "0x10", "٣"])
  func refused(text: String) {
    #expect(HPAQuantity(text) == nil)
  }

  @Test("an amount is a double by multiplication with a power of ten, not by parsing its text")
  func approximateDouble() throws {
    // 0.009 and 9 · 0.001 are neighbouring doubles; the tolerance of the original is the second.
    #expect(try #require(HPAQuantity("9m")).approximateDouble == 9 * 1e-3)
    #expect(9 * 1e-3 != 0.009)
    #expect(try #require(HPAQuantity("0")).approximateDouble == 0)
    #expect(try #require(HPAQuantity("2")).approximateDouble == 2)
  }

  @Test("equal amounts are equal however they are written")
  func equality() throws {
    #expect(try #require(HPAQuantity("1")) == #require(HPAQuantity("1000m")))
    #expect(try #require(HPAQuantity("1Ki")) == #require(HPAQuantity("1024")))
    #expect(try #require(HPAQuantity("1")) != #require(HPAQuantity("1001m")))
    #expect(Set([try #require(HPAQuantity("0.5")), try #require(HPAQuantity("500m"))]).count == 1)
  }

  @Test("the sign is that of the amount", arguments: [("-1", -1), ("0", 0), ("0.000", 0), ("1n", 1)])
  func sign(text: String, expected: Int) throws {
    #expect(try #require(HPAQuantity(text)).signum == expected)
  }

  @Test("JSON may have text or a bare number, and the text is written back")
  func json() throws {
    let quantities = try JSONDecoder().decode([HPAQuantity].self, from: Data(#"["250m", 2, 0.5]"#.utf8))
    #expect(quantities.map(\.milliValue) == [250, 2000, 500])
    #expect(String(decoding: try JSONEncoder().encode(quantities), as: UTF8.self) == #"["250m","2","0.5"]"#)
    #expect(throws: DecodingError.self) { try JSONDecoder().decode([HPAQuantity].self, from: Data(#"["1 m"]"#.utf8)) }
  }

  @Test("the JSON decoder reads the largest integers exactly, not by way of doubles")
  func largeIntegers() throws {
    let text = "[9223372036854775807, 9223372036854775797, -9223372036854775808, 9007199254740993]"
    #expect(
      try JSONDecoder().decode([Int64].self, from: Data(text.utf8))
        == [.max, 9_223_372_036_854_775_797, .min, 9_007_199_254_740_993])
  }
}
