/// When what is packed how. The figures behind the defaults stand in docs/coordination-performance.md.
package struct CompressionPolicy: Hashable, Sendable {
  /// Bytes below which nothing is packed: there is little to save, and every message of that size is one packet anyway.
  package var minimumBytes: Int
  /// Bytes below which the dictionary is used. Above, a payload has enough of its own to refer to, and plain zstd is faster.
  package var dictionaryBytes: Int
  /// zstd's level without a dictionary. 3 is its own default; 9 saves at most 3 % more for three to six times the time.
  package var level: Int32
  /// zstd's level with the dictionary. 6 is the first that looks into it thoroughly: 3 to 4 % more than 3 saves, for two to
  /// three times the time, which is 25 µs for a task.
  package var dictionaryLevel: Int32
  /// zstd's level for the states of agents that are parked, which aren't in a hurry, always with the dictionary: 5 % less
  /// than by level 3 for ten times the time. Unpacking takes the same.
  package var parkingLevel: Int32
  /// Percent that must be saved for the packed form to be used: unpacking costs the reader something.
  package var minimumGain: Int

  /// 256 bytes, 16 KiB, levels 3, 6 and 12, 5 %.
  package init(
    minimumBytes: Int = 256, dictionaryBytes: Int = 16 << 10, level: Int32 = 3, dictionaryLevel: Int32 = 6,
    parkingLevel: Int32 = 12, minimumGain: Int = 5
  ) {
    self.minimumBytes = max(0, minimumBytes)
    self.dictionaryBytes = max(0, dictionaryBytes)
    self.level = min(max(1, level), 19)
    self.dictionaryLevel = min(max(1, dictionaryLevel), 19)
    self.parkingLevel = min(max(1, parkingLevel), 19)
    self.minimumGain = min(max(0, minimumGain), 99)
  }
}
