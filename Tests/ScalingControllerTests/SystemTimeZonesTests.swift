import Foundation
import KubernetesCore
import ScalingAPI
import Testing

@testable import ScalingController

/// The zones as the system has them, against Foundation's, which come from ICU.
@Suite("Time zones")
struct SystemTimeZonesTests {
  private let zones = SystemTimeZones()

  @Test(
    "Offsets are those of Foundation, in the past, around each change of the clocks, and after the tables end",
    arguments: [
      "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu",
      "Pacific/Auckland", "America/St_Johns", "Europe/Dublin", "Pacific/Kiritimati", "America/Santiago", "Etc/GMT+7",
    ])
  func likeFoundation(name: String) throws {
    let offset = try #require(zones.offset(ofZone: name))
    let zone = try #require(TimeZone(identifier: name))
    var moments = stride(from: Int64(-1_000_000_000), to: 3_900_000_000, by: 1_111_111).map { $0 }
    var next = Date(timeIntervalSince1970: 900_000_000)
    while let change = zone.nextDaylightSavingTimeTransition(after: next), change.timeIntervalSince1970 < 3_900_000_000
    {
      let second = Int64(change.timeIntervalSince1970)
      moments += [second - 1, second, second + 1]
      next = change
    }
    for moment in moments {
      let expected = zone.secondsFromGMT(for: Date(timeIntervalSince1970: TimeInterval(moment)))
      let found = offset(Timestamp(secondsSinceEpoch: moment))
      #expect(found == expected, "\(name) at \(moment)")
      if found != expected { break }
    }
  }

  @Test(
    "What is no zone, leads out of the folder, or is no time zone file is unknown",
    arguments: [
      "Europe/Atlantis", "../../../etc/passwd", "/etc/localtime", "", "Europe", "tzdata.zi", "a\u{0}b", "zone.tab",
    ])
  func unknown(name: String) {
    #expect(zones.offset(ofZone: name) == nil)
  }

  @Test("UTC is there without a database")
  func utcWithoutDatabase() throws {
    let none = SystemTimeZones(folders: ["/nowhere"])
    #expect(none.offset(ofZone: "UTC")?(Timestamp(secondsSinceEpoch: 1)) == 0)
    #expect(none.offset(ofZone: "Europe/Berlin") == nil)
  }

  @Test("A file that is cut anywhere is refused, and crashes nothing")
  func cutFiles() throws {
    let whole = [UInt8](try Data(contentsOf: URL(filePath: "/usr/share/zoneinfo/Europe/Berlin")))
    #expect(TimeZoneTable(tzif: whole) != nil)
    for count in stride(from: 0, to: whole.count, by: 7) {
      #expect(TimeZoneTable(tzif: Array(whole[..<count])) == nil, "\(count) bytes")
    }
    var broken = whole
    for index in 20..<44 { broken[index] = 0xFF }
    #expect(TimeZoneTable(tzif: broken) == nil)
  }
}
