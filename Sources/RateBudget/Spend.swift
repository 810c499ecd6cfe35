/// A span of time that a spend ceiling is about.
package enum SpendPeriod: String, Hashable, Sendable, CaseIterable {
  /// Any sixty minutes.
  case hour
  /// The UTC calendar day.
  case day
}

/// What a model costs, in micro-dollars per million tokens ($3.00 per million is 3,000,000).
package struct ModelPrices: Hashable, Sendable {
  /// Uncached input.
  package var input: Int64
  /// Writes to the five-minute cache.
  package var cacheWrite: Int64
  /// Writes to the one-hour cache.
  package var cacheWriteHour: Int64
  /// Reads from the cache.
  package var cacheRead: Int64
  /// Output.
  package var output: Int64

  /// Makes prices; cache prices follow from the input's as the API's price list has them (1.25, 2 and 0.1 times).
  package init(
    input: Int64, output: Int64, cacheWrite: Int64? = nil, cacheWriteHour: Int64? = nil, cacheRead: Int64? = nil
  ) {
    let sane: ClosedRange<Int64> = 0...1_000_000_000
    self.input = input.clamped(to: sane)
    self.output = output.clamped(to: sane)
    self.cacheWrite = (cacheWrite ?? self.input * 5 / 4).clamped(to: sane)
    self.cacheWriteHour = (cacheWriteHour ?? self.input * 2).clamped(to: sane)
    self.cacheRead = (cacheRead ?? self.input / 10).clamped(to: sane)
  }

  /// What a usage costs, in millionths of a micro-dollar (exact).
  func cost(of usage: Usage) -> Int64 {
    let parts = [
      (usage.input, input), (usage.cacheCreation, cacheWrite), (usage.cacheCreationHour, cacheWriteHour),
      (usage.cacheRead, cacheRead), (usage.output, output),
    ]
    return parts.reduce(0) { sum, part in
      sum.addingSaturated(Usage.sane(part.0).scaled(by: part.1, over: 1))
    }
  }

  /// What an estimate costs.
  func cost(of estimate: Estimate) -> Int64 {
    cost(
      of: Usage(
        input: estimate.input, cacheRead: estimate.inputTotal - estimate.input, output: estimate.expectedOutput))
  }
}

/// The prices of models by pattern; the first that matches counts.
package struct PriceList: Hashable, Sendable {
  /// A pattern, in which * stands for any text, and its prices.
  package struct Entry: Hashable, Sendable {
    /// The pattern, such as "claude-sonnet-*".
    package var pattern: String
    /// The prices.
    package var prices: ModelPrices

    /// Makes an entry.
    package init(pattern: String, prices: ModelPrices) {
      self.pattern = pattern
      self.prices = prices
    }
  }

  /// The entries, in order.
  package var entries: [Entry]

  /// Makes a list.
  package init(_ entries: [Entry] = []) {
    self.entries = entries
  }

  /// The prices of a model; nil: unknown, so it counts as free.
  package func prices(of model: String) -> ModelPrices? {
    entries.first { Self.matches(Array(model.utf8)[...], Array($0.pattern.utf8)[...]) }?.prices
  }

  private static func matches(_ text: ArraySlice<UInt8>, _ pattern: ArraySlice<UInt8>) -> Bool {
    var (text, pattern) = (text, pattern)
    var retry: (text: ArraySlice<UInt8>, pattern: ArraySlice<UInt8>)?
    while true {
      if pattern.first == 42 {
        pattern = pattern.dropFirst()
        retry = (text, pattern)
      } else if let byte = text.first {
        if pattern.first == byte {
          text = text.dropFirst()
          pattern = pattern.dropFirst()
        } else if let last = retry {
          text = last.text.dropFirst()
          pattern = last.pattern
          retry = (text, pattern)
        } else {
          return false
        }
      } else {
        return pattern.isEmpty
      }
    }
  }
}

/// What may be spent, in micro-dollars.
package struct SpendLimits: Hashable, Sendable {
  /// In any hour; nil: no ceiling.
  package var perHour: Int64?
  /// In a UTC day; nil: no ceiling.
  package var perDay: Int64?

  /// Makes ceilings.
  package init(perHour: Int64? = nil, perDay: Int64? = nil) {
    self.perHour = perHour
    self.perDay = perDay
  }
}

/// Counts money: what was spent in the last hour and since midnight UTC, and what is reserved for requests in flight.
struct SpendMeter: Sendable {
  private static let scale: Int64 = 1_000_000
  private var minutes = [Int64](repeating: 0, count: 60)
  private var minute: Int64 = 0
  private var day: Int64 = 0
  private var today: Int64 = 0
  private var reserved: Int64 = 0

  private mutating func roll(to wall: WallTime) {
    let index = max(wall.milliseconds, 0) / 60_000
    if index > minute {
      for step in max(minute + 1, index - 59)...index { minutes[Int(step % 60)] = 0 }
      minute = index
    }
    if index / 1440 > day {
      day = index / 1440
      today = 0
    }
  }

  /// Reserves what a granted request is expected to cost.
  mutating func reserve(_ cost: Int64) { reserved = reserved.addingSaturated(cost) }

  /// Frees a reservation.
  mutating func free(_ cost: Int64) { reserved = max(0, reserved - cost) }

  /// Notes what was spent.
  mutating func spend(_ cost: Int64, wall: WallTime) {
    roll(to: wall)
    minutes[Int(minute % 60)] = minutes[Int(minute % 60)].addingSaturated(cost)
    today = today.addingSaturated(cost)
  }

  /// What was spent in a period, in micro-dollars, rounded down.
  mutating func spent(in period: SpendPeriod, wall: WallTime) -> Int64 {
    roll(to: wall)
    return (period == .hour ? minutes.reduce(Int64(0)) { $0.addingSaturated($1) } : today) / Self.scale
  }

  /// The ceiling that a request of `cost` would go over, and how long until it may fit.
  mutating func refusal(cost: Int64, limits: SpendLimits, wall: WallTime) -> (period: SpendPeriod, wait: Duration)? {
    roll(to: wall)
    let claimed = reserved.addingSaturated(cost)
    if let ceiling = limits.perDay, today.addingSaturated(claimed) > ceiling.scaled(by: Self.scale, over: 1) {
      return (.day, .milliseconds((day + 1) * 86_400_000 - wall.milliseconds))
    }
    if let ceiling = limits.perHour?.scaled(by: Self.scale, over: 1) {
      var sum = minutes.reduce(Int64(0)) { $0.addingSaturated($1) }.addingSaturated(claimed)
      guard sum > ceiling else { return nil }
      for age in stride(from: Int64(59), through: 0, by: -1) where minute - age >= 0 {
        sum -= minutes[Int((minute - age) % 60)]
        if sum <= ceiling { return (.hour, .milliseconds((minute - age + 60) * 60_000 - wall.milliseconds)) }
      }
      return (.hour, .seconds(3600))
    }
    return nil
  }
}
