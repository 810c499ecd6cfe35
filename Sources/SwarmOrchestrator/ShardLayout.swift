/// Over how many shards a fleet's queues are spread: 1 is the queue itself.
///
/// A task stays in the shard to which it was submitted. When the number changes, submissions with keys wait until no pod routes by the old number
/// any more (`next`), so that a key can't be taken in two places at once; from then on a key is looked up in the other layout's shard before it
/// is submitted, and what is still there is worked off.
package struct ShardLayout: Hashable, Sendable {
  /// To how many shards submissions go.
  package var shards = 1
  /// The number to which it changes, once all pods know.
  package var next: Int?
  /// The version of the plan that said so.
  package var since: UInt64 = 0
  /// Numbers in use before: their shards may hold tasks and know keys.
  package var older: [Int] = []

  /// One shard, the queue itself.
  package init() {}

  /// Each number of shards in which tasks may be.
  package var all: [Int] { [shards] + older }

  /// The engine's queue of a shard.
  package static func queue(_ name: String, shard: Int, of count: Int) -> String {
    count == 1 ? name : "\(name).\(count).\(shard)"
  }

  /// The shard of a key: FNV-1a over its name and generation, with a final mix for the low bits.
  package static func shard(of key: String, generation: UInt64, count: Int) -> Int {
    guard count > 1 else { return 0 }
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in key.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    hash = (hash ^ generation) &* 0x100_0000_01B3
    hash ^= hash >> 33
    hash = hash &* 0xFF51_AFD7_ED55_8CCD
    hash ^= hash >> 33
    return Int(hash % UInt64(count))
  }

  /// The queue of which an engine's queue is a shard in one of the layouts; itself when it is none.
  package func base(of queue: String) -> String {
    let parts = queue.split(separator: ".")
    guard parts.count >= 3, let count = Int(parts[parts.count - 2]), count > 1, all.contains(count),
      let shard = Int(parts[parts.count - 1]), (0..<count).contains(shard)
    else { return queue }
    return parts.dropLast(2).joined(separator: ".")
  }
}
