package import KubernetesCore
import ScalingAPI
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The time zones of the IANA database that the system carries.
///
/// A zone is read once; a new database counts from the next start on.
package final class SystemTimeZones: TimeZoneOffsets {
  private let folders: [String]
  private let tables = Mutex<[String: TimeZoneTable]>([:])

  /// Names come from users; more of them aren't kept.
  private static let maximumTables = 1_024

  /// Makes the source.
  ///
  /// - Parameter folders: Where the database is looked for, in this order; the usual places when left out.
  package init(folders: [String] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo"]) {
    self.folders = folders
  }

  package func offset(ofZone name: String) -> (@Sendable (Timestamp) -> Int)? {
    guard let table = table(name) else { return nil }
    return { moment in table.offset(at: moment) }
  }

  private func table(_ name: String) -> TimeZoneTable? {
    // Always there, also without a database.
    if ["UTC", "Etc/UTC", "GMT"].contains(name) { return .utc }
    guard Self.isName(name) else { return nil }
    return tables.withLock { tables in
      if let known = tables[name] { return known }
      let table = folders.lazy.compactMap { Self.read("\($0)/\(name)") }.first.flatMap { TimeZoneTable(tzif: $0) }
      // What is missing is looked for again: the database may be mounted later.
      if let table, tables.count < Self.maximumTables { tables[name] = table }
      return table
    }
  }

  /// Whether a name can be one: `Area/Place` without ways out of the folder.
  private static func isName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 64 && !name.hasPrefix("/") && !name.contains("..")
      && name.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"):
          true
        default: "/_+-.".utf8.contains(byte)
        }
      }
  }

  /// The bytes of a file; nil when it can't be read or is larger than any zone.
  private static func read(_ path: String) -> [UInt8]? {
    guard let file = fopen(path, "rbe") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    let count = bytes.withUnsafeMutableBytes { fread($0.baseAddress, 1, $0.count, file) }
    guard count > 0, count < bytes.count else { return nil }
    return Array(bytes[..<count])
  }
}
