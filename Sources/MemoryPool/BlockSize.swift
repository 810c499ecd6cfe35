/// The sizes of pooled blocks.
///
/// Four of them, a factor of four to eight apart: a heartbeat, a task or tool call, a compressed state, a state. Above 64 KiB
/// the allocator is as fast (it maps pages itself), so that larger requests are only counted and bounded, not pooled.
package enum BlockSize: Int, Sendable, CaseIterable, Comparable {
  /// 512 bytes.
  case bytes512 = 512
  /// 4 KiB: a page.
  case kibibytes4 = 4_096
  /// 16 KiB.
  case kibibytes16 = 16_384
  /// 64 KiB.
  case kibibytes64 = 65_536

  /// Bytes that are mapped at a time, whatever the size of the blocks: an empty slab serves any size.
  package static let slabBytes = 262_144

  /// The smallest size that holds `bytes`; nil when none does.
  package init?(holding bytes: Int) {
    guard let size = Self.allCases.first(where: { $0.rawValue >= bytes }) else { return nil }
    self = size
  }

  /// Blocks of this size in a slab.
  package var blocksPerSlab: Int { Self.slabBytes / rawValue }

  /// 0 for the smallest size, and on.
  var ordinal: Int {
    switch self {
    case .bytes512: 0
    case .kibibytes4: 1
    case .kibibytes16: 2
    case .kibibytes64: 3
    }
  }

  /// Free blocks that a magazine keeps: about 16 KiB of the small ones, two of the largest.
  var magazineCapacity: Int {
    switch self {
    case .bytes512: 32
    case .kibibytes4: 8
    case .kibibytes16: 4
    case .kibibytes64: 2
    }
  }

  /// Where its blocks stand among those of a magazine.
  var magazineStart: Int {
    switch self {
    case .bytes512: 0
    case .kibibytes4: 32
    case .kibibytes16: 40
    case .kibibytes64: 44
    }
  }

  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}
