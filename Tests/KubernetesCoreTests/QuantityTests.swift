import KubernetesCore
import Testing

@Suite("Quantity")
struct QuantityTests {
  struct Example: Sendable, CustomTestStringConvertible {
    var text: String
    var nano: Int128
    var canonical: String
    var testDescription: String { text }

    init(_ text: String, _ nano: Int128, _ canonical: String) {
      self.text = text
      self.nano = nano
      self.canonical = canonical
    }
  }

  static let one: Int128 = 1_000_000_000

  static let examples: [Example] = [
    // apimachinery's own documentation and tests (quantity_test.go).
    Example("0", 0, "0"), Example("0n", 0, "0"), Example("0Ki", 0, "0"), Example("-0", 0, "0"), Example("0.0", 0, "0"),
    Example("1n", 1, "1n"), Example("1u", 1_000, "1u"), Example("1m", 1_000_000, "1m"), Example("1", one, "1"),
    Example("1k", 1_000 * one, "1k"), Example("1M", 1_000_000 * one, "1M"), Example("1G", one * one, "1G"),
    Example("1T", 1_000 * one * one, "1T"), Example("1P", 1_000_000 * one * one, "1P"),
    Example("1E", one * one * one, "1E"), Example("1e0", one, "1"), Example("1e3", 1_000 * one, "1e3"),
    Example("1E6", 1_000_000 * one, "1e6"), Example("1e-3", 1_000_000, "1e-3"), Example("1E-9", 1, "1e-9"),
    Example("100.1", 100_100_000_000, "100100m"), Example("+1", one, "1"), Example("-1.5", -1_500_000_000, "-1500m"),
    Example("1.5Gi", 1_610_612_736 * one, "1536Mi"), Example("1.2345", 1_234_500_000, "1234500u"),
    Example("0.5Ki", 512 * one, "512"), Example("1Ki", 1_024 * one, "1Ki"), Example("1024Ki", 1_048_576 * one, "1Mi"),
    Example("1Mi", 1_048_576 * one, "1Mi"), Example("1Gi", (1 << 30) * one, "1Gi"),
    Example("1Ti", (1 << 40) * one, "1Ti"), Example("1Pi", (1 << 50) * one, "1Pi"),
    Example("1Ei", (1 << 60) * one, "1Ei"), Example("1.G", one * one, "1G"), Example(".5", 500_000_000, "500m"),
    Example("1000000000000000000000000", 1_000_000_000_000_000 * one * one, "1e24"),
    Example("18446744073709551616", 18_446_744_073_709_551_616 * one, "18446744073709551616"),
    // Finer than nano: up, away from zero.
    Example("0.9n", 1, "1n"), Example("-0.9n", -1, "-1n"), Example("1e-40", 1, "1e-9"),
    Example("0.0000000001", 1, "1n"), Example("1.1n", 2, "2n"), Example("0.00000000000n", 0, "0"),
    Example("0.0000000001Ki", 103, "103n"),
    // Binary suffixes are capped at 2^63-1.
    Example("8Ei", Int128(Int64.max) * one, "9223372036854775807"),
    Example("-9Ei", -Int128(Int64.max) * one, "-9223372036854775807"),
    Example("7Ei", 7 * (Int128(1) << 60) * one, "7Ei"),
    Example("99999999999999999999999999Ki", Int128(Int64.max) * one, "9223372036854775807"),
    Example("1.00000000001Gi", (1 << 30) * one + 10_737_419, "1073741824010737419n"),
    Example("1000E", 1_000 * one * one * one, "1e21"), Example("12e-1", 1_200_000_000, "1200e-3"),
    Example("0.1Ei", (Int128(1) << 60) * one / 10, "115292150460684697600m"),
  ]

  @Test("Texts read as apimachinery reads them, and print as it prints them", arguments: examples)
  func readsAndPrints(_ example: Example) throws {
    let quantity = try Quantity(example.text)
    #expect(quantity.nanoUnits == example.nano)
    #expect(quantity.description == example.canonical)
    #expect(try Quantity(quantity.description) == quantity)
  }

  @Test(
    "What isn't a quantity is refused with the text and the way to write it",
    arguments: [
      "", " ", "m", "+", "-", ".", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "-3.01i", "-3.01e-", "1 ",
      " 1", "1e", "1ee3", "1K", "1KI", "1ki", "1mi", "0x10", "1_000", "١", "1e3.5", "--1", "1e99999999999999999999x",
      "Infinity", "NaN",
    ])
  func refuses(_ text: String) {
    let error = #expect(throws: QuantityError.self) { try Quantity(text) }
    #expect(error?.text == text)
    #expect(error?.description.contains("1.5Gi") == true)
  }

  @Test("Scaling rounds away from zero and saturates")
  func scales() throws {
    #expect(try Quantity("1n").milliValue == 1)
    #expect(try Quantity("-1n").milliValue == -1)
    #expect(try Quantity("999u").milliValue == 1)
    #expect(try Quantity("1001u").milliValue == 2)
    #expect(try Quantity("1.5").value == 2)
    #expect(try Quantity("2").value == 2)
    #expect(try Quantity("-1.5").value == -2)
    #expect(try Quantity("1Ei").milliValue == Int64.max)
    #expect(try Quantity("-1Ei").milliValue == Int64.min)
    #expect(try Quantity("1Ei").value == 1 << 60)
    #expect(try Quantity("1Ei").nanoValue == Int64.max)
    #expect(try Quantity("1501").scaled(to: .kilo) == 2)
    #expect(try Quantity("1e400").value == Int64.max)
  }

  @Test(
    "Magnitudes without bound saturate, as texts and as sums",
    arguments: [
      "1e28", "1e29", "1e400", "99999999999999999999999999999", "1e99999999999999999999",
      "12345678901234567890123456789E",
    ])
  func saturates(_ text: String) throws {
    let most = try Quantity(text)
    #expect(most.description == "10000e24" || most.description == "10e27")
    #expect(most + most == most)
    #expect(try Quantity("-" + text) - most == Quantity("-" + text))
    #expect(try Quantity(most.description) == most)
    #expect(most.milliValue == Int64.max)
    #expect(try Quantity("9223372036854775807.99999999999Ei").value == Int64.max)
  }

  @Test("Comparison is exact and blind to the suffix")
  func compares() throws {
    #expect(try Quantity("1Ki") == Quantity("1024"))
    #expect(try Quantity("1") == Quantity("1000m"))
    #expect(try Quantity("1000m").hashValue == Quantity("1").hashValue)
    #expect(try Quantity("999999999n") < Quantity("1"))
    #expect(try Quantity("9223372036854775807") < Quantity("9223372036854775808"))
    #expect(try (Quantity("1Gi") + Quantity("512Mi")).description == "1536Mi")
    #expect(try (Quantity("1") - Quantity("1500m")).description == "-500m")
  }

  @Test(
    "JSON strings and JSON numbers are read",
    arguments: [("\"100m\"", "100m"), ("1", "1"), ("0.1", "100m"), ("1e3", "1k")]
  )
  func decodes(_ json: String, _ canonical: String) throws {
    let value = try KubernetesJSON.decode([Quantity].self, from: Array("[\(json)]".utf8))
    #expect(value[0].description == canonical)
  }

  @Test("A wrong quantity in JSON is named with its place")
  func namesThePlace() {
    let error = #expect(throws: KubernetesError.self) {
      try KubernetesJSON.decode([String: [Quantity]].self, from: Array("{\"cpu\":[\"1\",\"1x\"]}".utf8))
    }
    #expect(error?.message.contains("cpu[1]") == true)
    #expect(error?.message.contains("1x") == true)
  }

  @Test("Random texts agree with schoolbook arithmetic on digit strings")
  func agreesWithSlowArithmetic() throws {
    var random = SplitMix(state: 20_261_125)
    let binary: [(String, Int)] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)]
    let decimal: [(String, Int)] = [
      ("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("e2", 2), ("E-4", -4),
    ]
    for _ in 0..<4_000 {
      let whole = random.digits(atMost: 9)
      let fraction = random.digits(atMost: 24)
      let number = (whole.isEmpty ? "0" : whole) + (fraction.isEmpty ? "" : "." + fraction)
      let useBinary = random.next() % 2 == 0
      let (suffix, power) = useBinary ? binary[random.index(binary.count)] : decimal[random.index(decimal.count)]
      let quantity = try Quantity(number + suffix)
      let expected = SlowDecimal.ceiling(number: number, base: useBinary ? 2 : 10, power: power)
      #expect(String(quantity.nanoUnits) == expected, "\(number)\(suffix)")
      #expect(try Quantity(quantity.description) == quantity)
    }
  }
}

/// The SplitMix64 generator.
private struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func index(_ count: Int) -> Int { Int(next() % UInt64(count)) }

  mutating func digits(atMost limit: Int) -> String {
    String((0..<index(limit + 1)).map { _ in Character(String(next() % 10)) })
  }
}

/// Multiplication digit by digit on text: slow, and sharing nothing with the implementation.
private enum SlowDecimal {
  /// ⌈number × base^power × 10⁹⌉, or 2⁶³−1 units if that is less and the base is 2.
  static func ceiling(number: String, base: Int, power: Int) -> String {
    let parts = number.split(separator: ".", omittingEmptySubsequences: false)
    var digits = Array((parts[0] + (parts.count > 1 ? parts[1] : "")).map { $0.wholeNumberValue ?? 0 }.reversed())
    var places = parts.count > 1 ? parts[1].count : 0
    if base == 2 { for _ in 0..<power { digits = doubled(digits) } } else { places -= power }
    places -= 9
    while places < 0 {
      digits.insert(0, at: 0)
      places += 1
    }
    while digits.count <= places { digits.append(0) }
    let isInexact = digits[..<places].contains { $0 != 0 }
    var result = Array(digits[places...])
    if isInexact { increment(&result) }
    let text = trimmed(result)
    let cap = "9223372036854775807000000000"
    let exceeds = text.count > cap.count || (text.count == cap.count && text > cap)
    return base == 2 && exceeds ? cap : text
  }

  private static func doubled(_ digits: [Int]) -> [Int] {
    var result: [Int] = []
    var carry = 0
    for digit in digits {
      result.append((digit * 2 + carry) % 10)
      carry = (digit * 2 + carry) / 10
    }
    if carry > 0 { result.append(carry) }
    return result
  }

  private static func increment(_ digits: inout [Int]) {
    for index in digits.indices {
      if digits[index] < 9 {
        digits[index] += 1
        return
      }
      digits[index] = 0
    }
    digits.append(1)
  }

  private static func trimmed(_ digits: [Int]) -> String {
    let text = digits.reversed().drop { $0 == 0 }.map(String.init).joined()
    return text.isEmpty ? "0" : text
  }
}
