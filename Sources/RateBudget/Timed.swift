/// Something that is due at a time; equal times keep the order of their making.
struct Timed: Comparable, Sendable {
  /// When it is due.
  var at: BudgetTime
  /// The order among equal times.
  var order: UInt64
  /// What is due.
  var ticket: GrantQueue.Ticket

  /// Whether one is due before another.
  static func < (left: Timed, right: Timed) -> Bool {
    left.at != right.at ? left.at < right.at : left.order < right.order
  }
}
