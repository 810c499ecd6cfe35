/// Guesses what a request will be charged before it is sent: from what requests like it were charged, not from the
/// size of their bodies alone. An agent's turn sends everything again, but is charged mostly for the new part.
package struct InputEstimator: Sendable {
  /// What is known of a request before it is sent.
  package struct Features: Hashable, Sendable {
    /// The model; empty when the body couldn't be read.
    package var model: String
    /// The kind of worker.
    package var kind: String
    /// The session; empty: none.
    package var session: String
    /// The size of the decoded body; nil when it couldn't be read.
    package var bodyBytes: Int64?
    /// `max_tokens`; nil when it couldn't be read.
    package var maxTokens: Int64?

    /// Makes a set of features.
    package init(
      model: String = "", kind: String = "", session: String = "", bodyBytes: Int64? = nil, maxTokens: Int64? = nil
    ) {
      self.model = model
      self.kind = kind
      self.session = session
      self.bodyBytes = bodyBytes.map { max($0, 0) }
      self.maxTokens = maxTokens.map { max($0, 0) }
    }
  }

  /// A smoothed mean and mean deviation, in 256ths.
  struct Mean: Sendable {
    private(set) var mean: Int64 = 0
    private(set) var deviation: Int64 = 0
    private(set) var count: Int64 = 0
    /// How many values it averages over in the end.
    let memory: Int64

    /// Makes a mean of nothing.
    init(memory: Int64) {
      self.memory = memory
    }

    /// Takes in a value: the first ones count in full, later ones by one part in `memory`.
    mutating func add(_ value: Int64) {
      let scaled = value.clamped(to: 0...1_000_000_000) * 256
      count = Swift.min(count + 1, memory)
      let difference = scaled - mean
      mean += difference / count
      if count > 1 { deviation += (abs(difference) - deviation) / count }
    }

    var value: Int64 { (mean + 128) / 256 }

    /// This mean while it consists of fewer than `needed` values: the rest of them is a guess.
    func filled(to needed: Int64, with guess: Int64) -> Mean {
      guard count < needed else { return self }
      var filled = self
      filled.mean = (mean * count + guess * 256 * (needed - count)) / needed
      return filled
    }

    /// The mean and 1.6 mean deviations: nine of ten values of a bell curve are below (1.28 standard deviations).
    var ninetieth: Int64 { (mean + deviation * 8 / 5 + 128) / 256 }
  }

  private struct Key: Hashable, Sendable {
    var model: String
    var kind: String
    var session: String
  }

  /// Charged input where nothing is known: the mean of agents' turns.
  static let initialInput: Int64 = 6_000
  /// Output where nothing is known.
  static let initialOutput: Int64 = 900
  /// From this many requests in flight on errors average out, so that the mean is enough.
  static let many = 8

  private var inputs: LRUTable<Key, Mean>
  private var totals: LRUTable<Key, Mean>
  private var outputs: LRUTable<Key, Mean>
  /// A session's turns resemble the last ones; eight of them.
  private static let sessionMemory: Int64 = 8
  /// Requests of a kind of worker differ by much (a few are twenty times the mean), so that few of them tell little: the
  /// mean of eight errs by half.
  private static let kindMemory: Int64 = 64
  /// Thousandths of a byte in a token.
  private var bytesPerToken: LRUTable<String, Int64>

  /// Makes an estimator that remembers `capacity` sessions.
  package init(capacity: Int = 4_096) {
    inputs = LRUTable(capacity: capacity)
    totals = LRUTable(capacity: capacity)
    outputs = LRUTable(capacity: 256)
    bytesPerToken = LRUTable(capacity: 256)
  }

  /// Guesses. With many requests in flight the mean and a tenth, with few the ninetieth percentile.
  package func estimate(_ features: Features, inFlight: Int) -> Estimate {
    func reserve(_ mean: Mean) -> Int64 {
      inFlight >= Self.many ? mean.value * 11 / 10 : mean.ninetieth
    }
    let key = Key(model: features.model, kind: features.kind, session: features.session)
    let whole = features.bodyBytes.map { $0 * 1_000 / bytes(inTokenOf: features.model) }
    let session = features.session.isEmpty ? nil : inputs.peek(key)
    let fallback = Key(model: features.model, kind: features.kind, session: "")
    let anything = Key(model: "", kind: "", session: "")
    var input: Int64
    if let session {
      input = reserve(session)
      // A turn can't be charged for more than it sends.
      if let whole { input = min(input, max(whole, 1)) }
    } else if let whole {
      input = whole
    } else {
      input =
        (inputs.peek(fallback) ?? inputs.peek(anything))
        .map { reserve($0.filled(to: 8, with: Self.initialInput)) } ?? Self.initialInput
    }
    let total = max(input, whole ?? totals.peek(fallback)?.value ?? input)
    let expected = (outputs.peek(fallback) ?? outputs.peek(anything)).map(\.value) ?? Self.initialOutput
    return Estimate(
      input: input, inputTotal: total, expectedOutput: max(expected, 1),
      maxOutput: features.maxTokens ?? max(expected, 1))
  }

  /// Learns from a completed request.
  package mutating func learn(_ features: Features, usage: Usage) {
    let kind = Key(model: features.model, kind: features.kind, session: "")
    let session = Key(model: features.model, kind: features.kind, session: features.session)
    var keys = [kind, Key(model: "", kind: "", session: "")]
    if !features.session.isEmpty { keys.append(session) }
    if let input = usage.chargedInput, let total = usage.totalInput {
      for key in keys {
        let none = Mean(memory: key.session.isEmpty ? Self.kindMemory : Self.sessionMemory)
        inputs.update(key, initial: none) { $0.add(input) }
        totals.update(key, initial: none) { $0.add(total) }
      }
      if let bytes = features.bodyBytes, bytes > 0, total > 0 {
        let sample = (bytes * 1_000 / total).clamped(to: 500...50_000)
        bytesPerToken.update(features.model, initial: Self.initialBytes(of: features.model)) {
          $0 += (sample - $0) / 8
        }
      }
    }
    if let output = usage.output {
      for key in keys.prefix(2) { outputs.update(key, initial: Mean(memory: Self.kindMemory)) { $0.add(output) } }
    }
  }

  private func bytes(inTokenOf model: String) -> Int64 {
    bytesPerToken.peek(model) ?? Self.initialBytes(of: model)
  }

  /// 3.5 bytes in a token; 2.7 from version 4.7 on, whose tokenizer makes about 30 % more tokens of the same text.
  static func initialBytes(of model: String) -> Int64 {
    let numbers = model.split(whereSeparator: { !$0.isNumber && !$0.isLetter }).flatMap { $0.split(separator: ".") }
      .compactMap { Int($0) }.filter { $0 < 100 }
    guard let major = numbers.first else { return 3_500 }
    return (major, numbers.dropFirst().first ?? 0) >= (4, 7) ? 2_700 : 3_500
  }
}
