import KubernetesCore

extension Timestamp {
  /// Whole seconds since the epoch as the history keeps them: 32 bits, enough until 2106.
  var pageSeconds: UInt32 { UInt32(clamping: secondsSinceEpoch) }

  /// Milliseconds since the epoch, as scripts count.
  var milliseconds: Int64 { nanosecondsSinceEpoch / 1_000_000 }
}

/// A count in 16 bits, as the history keeps it: `absent` stands for "not known", greater counts saturate below it.
struct CompactCount: Hashable, Sendable {
  /// Nothing is known.
  static let absent = CompactCount(bits: .max)

  private var bits: UInt16

  private init(bits: UInt16) { self.bits = bits }

  /// Keeps a count; negative ones become zero.
  init(_ value: (some BinaryInteger)?) {
    guard let value else {
      self = .absent
      return
    }
    bits = UInt16(min(max(Int(clamping: value), 0), Int(UInt16.max) - 1))
  }

  /// The count; nil when it isn't known.
  var value: Int? { bits == .max ? nil : Int(bits) }
}
