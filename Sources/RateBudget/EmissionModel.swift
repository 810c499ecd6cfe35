/// Predicts how many output tokens a second the live streams produce.
///
/// By Little's law the emission of a steady population is (live streams) × (mean output ÷ mean life), where a life runs
/// from the grant to the end. That ratio of sums contains the time to the first token and the ragged end; a model of
/// "so many tokens a second between first and last token" has to know both and errs by them (10 % at 1.5 s of 15 s).
/// Learned for each class of streams (model and kind of worker) from completed streams only: streams that have just
/// begun have lived without output and would make the rate look low exactly when a fleet starts.
struct EmissionModel: Sendable {
  /// Output tokens a second of one stream before anything is learned (50-100 is what current models do), in thousandths.
  static let initialRate: Int64 = 60_000
  private static let maximumClasses = 64
  private static let initialLife: Int64 = 15_000
  private static let initialWeight: Int64 = 4
  private static let maximumWeight: Int64 = 256

  private struct Class: Sendable {
    var tokens = initialLife * initialWeight * initialRate / 1_000_000
    var life = initialLife * initialWeight
    var weight = initialWeight
    var live: Int64 = 0

    /// Thousandths of a token a second.
    var rate: Int64 { (tokens * 1_000_000 / max(life, 1)).clamped(to: 1_000...10_000_000) }
  }

  private var classes: [Class] = [Class()]
  private struct Key: Hashable, Sendable {
    var model: String
    var kind: String
  }

  private var index: [Key: Int] = [:]
  /// The predicted emission of all live streams, in thousandths of a token a second.
  private(set) var predicted: Int64 = 0
  /// How many streams are live.
  private(set) var live: Int64 = 0

  /// The class of a model and a kind of worker; those beyond the 63rd share one.
  mutating func streamClass(model: String, kind: String) -> Int {
    let key = Key(model: model, kind: kind)
    if let known = index[key] { return known }
    guard classes.count < Self.maximumClasses else { return 0 }
    classes.append(Class())
    index[key] = classes.count - 1
    return classes.count - 1
  }

  /// The learned rate of one stream of a class, in thousandths of a token a second.
  func rate(of streamClass: Int) -> Int64 { classes[streamClass].rate }

  /// Counts a stream in.
  mutating func begin(_ streamClass: Int) {
    classes[streamClass].live += 1
    live += 1
    predicted += classes[streamClass].rate
  }

  /// Counts a stream out; with `tokens` and `life` (nanoseconds) of a completed one its class learns.
  mutating func end(_ streamClass: Int, tokens: Int64? = nil, life: Int64 = 0) {
    predicted -= classes[streamClass].rate * classes[streamClass].live
    classes[streamClass].live -= 1
    live -= 1
    if let tokens, life > 0 {
      classes[streamClass].tokens += tokens.clamped(to: 0...10_000_000)
      classes[streamClass].life += (life / 1_000_000).clamped(to: 1...3_600_000)
      classes[streamClass].weight += 1
      if classes[streamClass].weight >= Self.maximumWeight {
        classes[streamClass].tokens /= 2
        classes[streamClass].life /= 2
        classes[streamClass].weight /= 2
      }
    }
    predicted += classes[streamClass].rate * classes[streamClass].live
  }
}
