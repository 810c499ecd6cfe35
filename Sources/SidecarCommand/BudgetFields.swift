import YAML

/// One mapping of a budget file, with the words to say where it stands.
struct BudgetFields {
  /// The mapping.
  let node: YAMLNode
  /// Where it stands, such as `APIBudget claude: spec.limits`.
  let place: String

  private func value(_ key: String) -> YAMLNode? {
    guard let value = node[key], !value.isNull else { return nil }
    return value
  }

  private func invalid(_ key: String, _ problem: String) -> BudgetFile.Invalid {
    BudgetFile.Invalid(place: "\(place).\(key)", problem: problem)
  }

  /// Fails for a key that nobody reads: a misspelt limit would otherwise be no limit.
  func refuseUnknown(besides known: Set<String>) throws(BudgetFile.Invalid) {
    for name in (node.members ?? []).map(\.key) {
      guard known.contains(name) else {
        throw invalid(name, "this field isn't known; known are \(known.sorted().joined(separator: ", "))")
      }
    }
  }

  /// A text.
  func text(_ key: String) throws(BudgetFile.Invalid) -> String? {
    guard let value = value(key) else { return nil }
    guard let text = value.text else { throw invalid(key, "a text is needed") }
    return text
  }

  /// A list of texts; empty when it is missing.
  func texts(_ key: String) throws(BudgetFile.Invalid) -> [String] {
    guard let value = value(key) else { return [] }
    guard let items = value.elements else { throw invalid(key, "a list of texts is needed") }
    var texts: [String] = []
    for item in items {
      guard let text = item.text else { throw invalid(key, "a list of texts is needed") }
      texts.append(text)
    }
    return texts
  }

  /// A mapping.
  func object(_ key: String) throws(BudgetFile.Invalid) -> BudgetFields? {
    guard let value = value(key) else { return nil }
    guard value.members != nil else { throw invalid(key, "a mapping (name: value) is needed") }
    return BudgetFields(node: value, place: "\(place).\(key)")
  }

  /// A list of mappings.
  func objects(_ key: String) throws(BudgetFile.Invalid) -> [BudgetFields] {
    guard let value = value(key) else { return [] }
    guard let items = value.elements else { throw invalid(key, "a list is needed") }
    var objects: [BudgetFields] = []
    for (index, item) in items.enumerated() {
      guard item.members != nil else { throw invalid("\(key)[\(index)]", "a mapping (name: value) is needed") }
      objects.append(BudgetFields(node: item, place: "\(place).\(key)[\(index)]"))
    }
    return objects
  }

  /// A whole number.
  func integer(_ key: String, in range: ClosedRange<Int64>) throws(BudgetFile.Invalid) -> Int64? {
    guard let text = try text(key) else { return nil }
    guard let number = Int64(text), range.contains(number) else {
      throw invalid(key, "\(text) isn't a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// An amount as Kubernetes writes quantities (4000, 2M, 400k, 12.5), times `scale`, rounded up.
  func amount(_ key: String, scale: Int64 = 1) throws(BudgetFile.Invalid) -> Int64? {
    guard let text = try text(key) else { return nil }
    guard let amount = Self.quantity(text, scale: scale), amount > 0 else {
      throw invalid(key, "\(text) isn't an amount above zero, such as 4000, 400k, 2M or 12.50")
    }
    return amount
  }

  /// US dollars per million tokens, in micro-dollars; 0 is a price.
  func price(_ key: String) throws(BudgetFile.Invalid) -> Int64? {
    guard let text = try text(key) else { return nil }
    guard let amount = Self.quantity(text, scale: 1_000_000), (0...1_000_000_000).contains(amount) else {
      throw invalid(key, "\(text) isn't a price from 0 to 1000 US dollars per million tokens, such as 3 or 0.80")
    }
    return amount
  }

  /// A quantity without floating point; nil for what is none, or is too large.
  static func quantity(_ text: String, scale: Int64) -> Int64? {
    let units: [(suffix: String, factor: Int64)] = [
      ("Ki", 1_024), ("Mi", 1_048_576), ("Gi", 1_073_741_824), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000),
    ]
    let unit = units.first { text.hasSuffix($0.suffix) }
    let digits = text.dropLast(unit?.suffix.count ?? 0)
    let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), digits.contains(where: { $0.isNumber }),
      digits.allSatisfy({ $0 == "." || ("0"..."9").contains($0) }), digits.utf8.count <= 18
    else { return nil }
    var value: Int64 = 0
    for digit in digits where digit != "." { value = value * 10 + Int64(digit.wholeNumberValue ?? 0) }
    var divisor: Int64 = 1
    for _ in 0..<(parts.count == 2 ? parts[1].count : 0) { divisor *= 10 }
    let factor = (unit?.factor ?? 1).multipliedReportingOverflow(by: scale)
    guard !factor.overflow else { return nil }
    let product = value.multipliedFullWidth(by: factor.partialValue)
    guard product.high >= 0, product.high < divisor else { return nil }
    let (quotient, rest) = divisor.dividingFullWidth(product)
    return rest > 0 ? quotient + 1 : quotient
  }
}
