import FleetCertificates
import KubernetesCore
import Testing

/// When certificates are made anew, as a table.
struct CertificatePlanTests {
  typealias Facts = CertificatePlan.Facts

  private static let now = Timestamp(secondsSinceEpoch: 1_800_000_000)
  private static let plan = CertificatePlan(names: ["a.b.svc", "a.b"])

  /// A certificate that began and ends so many days from now.
  private static func days(_ from: Int64, _ to: Int64) -> Facts.Certificate {
    Facts.Certificate(
      notBefore: now + .seconds(from * 86_400), notAfter: now + .seconds(to * 86_400))
  }

  private static func facts(
    authority: Facts.Certificate? = days(-10, 3_640), canSign: Bool = true, serving: Facts.Certificate? = days(-10, 80),
    names: Set<String> = ["a.b.svc", "a.b", "more"], isSignedByFirst: Bool = true
  ) -> Facts {
    Facts(
      authorities: authority.map { [$0] } ?? [], canSign: canSign, serving: serving, names: names,
      isSignedByFirst: isSignedByFirst)
  }

  struct Row: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var facts: Facts?
    var step: CertificatePlan.Step
  }

  static let rows: [Row] = [
    Row(testDescription: "nothing", facts: nil, step: .renewAuthority(.missing)),
    Row(
      testDescription: "an empty Secret", facts: facts(authority: nil, serving: nil), step: .renewAuthority(.missing)),
    Row(testDescription: "all is well", facts: facts(), step: .keep(until: now + .seconds(50 * 86_400))),
    Row(testDescription: "the authority's key is gone", facts: facts(canSign: false), step: .renewAuthority(.key)),
    Row(
      testDescription: "the authority is at its half", facts: facts(authority: days(-1_825, 1_825)),
      step: .renewAuthority(.ends)),
    Row(
      testDescription: "the authority is a day before its half", facts: facts(authority: days(-1_824, 1_826)),
      step: .keep(until: now + .seconds(86_400))),
    Row(
      testDescription: "the authority has ended", facts: facts(authority: days(-4_000, -1)),
      step: .renewAuthority(.ends)),
    Row(
      testDescription: "the authority begins tomorrow", facts: facts(authority: days(1, 3_651)),
      step: .renewAuthority(.notYetGood)),
    Row(testDescription: "no serving certificate", facts: facts(serving: nil), step: .renewServing(.missing)),
    Row(
      testDescription: "a serving certificate of another authority", facts: facts(isSignedByFirst: false),
      step: .renewServing(.signer)),
    Row(testDescription: "thirty days left", facts: facts(serving: days(-60, 30)), step: .renewServing(.ends)),
    Row(testDescription: "it has ended", facts: facts(serving: days(-91, -1)), step: .renewServing(.ends)),
    Row(testDescription: "it begins tomorrow", facts: facts(serving: days(1, 91)), step: .renewServing(.notYetGood)),
    Row(testDescription: "a name is missing", facts: facts(names: ["a.b"]), step: .renewServing(.names)),
  ]

  @Test("What there is decides what is done", arguments: rows)
  func step(_ row: Row) {
    #expect(Self.plan.step(row.facts, now: Self.now) == row.step)
  }

  @Test("A new authority keeps those that are good beside it, two at most")
  func kept() {
    let plan = Self.plan
    #expect(plan.kept(of: [Self.days(-1, 1)], now: Self.now) == [0])
    #expect(plan.kept(of: [Self.days(-9, -1), Self.days(-9, 1)], now: Self.now) == [1])
    #expect(plan.kept(of: [Self.days(-1, 4), Self.days(-1, 3), Self.days(-1, 2)], now: Self.now) == [0, 1])
    #expect(plan.kept(of: [], now: Self.now) == [])
  }

  @Test("No serving certificate outlives its authority")
  func bounded() {
    let authority = Self.days(-1, 10)
    #expect(Self.plan.serving(of: authority, now: Self.now).notAfter == authority.notAfter)
    #expect(Self.plan.serving(of: Self.days(0, 1_000), now: Self.now).notBefore == Self.now)
  }
}
