import RateBudget
import SwarmCoordination
import Testing

/// When claims are renewed, by the numbers.
@Suite("Held leases") struct HeldLeasesTests {
  private func at(_ seconds: Int64) -> BudgetTime { .zero + .seconds(seconds) }

  @Test("A third of the lease after each renewal, a tenth after one that wasn't heard")
  func renewals() {
    var leases = HeldLeases()
    #expect(leases.nextRenewal == nil)
    leases.hold("a", lease: .seconds(30), now: at(0))
    leases.hold("b", lease: .seconds(60), now: at(0))
    #expect(leases.nextRenewal == at(10))
    #expect(leases.due(now: at(9)) == [])
    #expect(leases.due(now: at(10)) == ["a"])
    #expect(leases.missed == [])
    leases.missed("a", now: at(10))
    #expect(leases.missed == ["a"])
    #expect(leases.due(now: at(12)) == [])
    #expect(leases.due(now: at(13)) == ["a"])
    leases.hold("a", lease: .seconds(30), now: at(13))
    #expect(leases.missed == [])
    #expect(leases.due(now: at(22)) == ["b"])
    #expect(leases.due(now: at(23)) == ["a", "b"])
    #expect(leases.nextEnd == at(43))
  }

  @Test("What has ended is named once; a missed renewal doesn't bring a claim back")
  func ends() {
    var leases = HeldLeases()
    leases.hold("a", lease: .seconds(30), now: at(0))
    leases.hold("b", lease: .seconds(10), now: at(0))
    #expect(leases.dropEnded(now: at(9)) == [])
    #expect(leases.dropEnded(now: at(10)) == ["b"])
    #expect(leases.dropEnded(now: at(10)) == [])
    leases.missed("b", now: at(10))
    #expect(!leases.holds("b"))
    #expect(leases.drop("a") && !leases.drop("a"))
    #expect(leases.count == 0)
  }
}
