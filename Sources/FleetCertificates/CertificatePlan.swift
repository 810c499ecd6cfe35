package import KubernetesCore

/// When certificates are made anew, and which authorities stay in the bundle. Pure: a table of facts and a moment give a step.
package struct CertificatePlan: Hashable, Sendable {
  /// How long certificates are good, and when they are replaced.
  package struct Policy: Hashable, Sendable {
    /// How long an authority is good.
    package var authorityLifetime: Duration
    /// How long before its end an authority is replaced. Workers that run longer than this lose the coordinator's
    /// authority: they got theirs when they were made.
    package var authorityOverlap: Duration
    /// How long a serving certificate is good.
    package var servingLifetime: Duration
    /// How long before its end it is replaced.
    package var servingOverlap: Duration
    /// How long before now certificates begin: clocks of machines differ.
    package var backdating: Duration

    /// Ten years, replaced after five; ninety days, replaced after sixty.
    package init() {
      let day = Duration.seconds(86_400)
      authorityLifetime = day * 3_650
      authorityOverlap = day * 1_825
      servingLifetime = day * 90
      servingOverlap = day * 30
      backdating = .seconds(3_600)
    }
  }

  /// What there is.
  package struct Facts: Hashable, Sendable {
    /// One certificate.
    package struct Certificate: Hashable, Sendable {
      /// From when on it is good.
      package var notBefore: Timestamp
      /// Until when it is good.
      package var notAfter: Timestamp

      /// Makes a certificate's facts.
      package init(notBefore: Timestamp, notAfter: Timestamp) {
        self.notBefore = notBefore
        self.notAfter = notAfter
      }
    }

    /// The authorities of the bundle, the one that signs first.
    package var authorities: [Certificate]
    /// Whether there is the key of the first one.
    package var canSign: Bool
    /// The serving certificate; nil: none, or one whose key isn't there.
    package var serving: Certificate?
    /// The names in it.
    package var names: Set<String>
    /// Whether the first authority has signed it.
    package var isSignedByFirst: Bool

    /// Makes facts.
    package init(
      authorities: [Certificate], canSign: Bool, serving: Certificate?, names: Set<String>, isSignedByFirst: Bool
    ) {
      self.authorities = authorities
      self.canSign = canSign
      self.serving = serving
      self.names = names
      self.isSignedByFirst = isSignedByFirst
    }
  }

  /// What to do.
  package enum Step: Hashable, Sendable {
    /// Nothing before `until`.
    case keep(until: Timestamp)
    /// A new serving certificate of the present authority.
    case renewServing(Reason)
    /// A new authority, and a serving certificate of it; the authorities that are good stay in the bundle.
    case renewAuthority(Reason)
  }

  /// Why.
  package enum Reason: String, Hashable, Sendable {
    /// There is none.
    case missing
    /// It ends soon, or has ended.
    case ends
    /// It begins later than now: the clock was wrong when it was made, or is wrong now.
    case notYetGood
    /// It lacks a name.
    case names
    /// Another authority has signed it.
    case signer
    /// The authority's key isn't there.
    case key
  }

  /// The names that the serving certificate must have.
  package var names: Set<String>
  /// How long, and when.
  package var policy: Policy

  /// The most authorities that a bundle keeps: each takes a good kilobyte of each pod's annotations.
  private static let authorityLimit = 3

  /// Makes a plan.
  package init(names: Set<String>, policy: Policy = Policy()) {
    self.names = names
    self.policy = policy
  }

  /// What to do about `facts` at `now`; nil facts: there is nothing yet.
  package func step(_ facts: Facts?, now: Timestamp) -> Step {
    guard let facts, let authority = facts.authorities.first else { return .renewAuthority(.missing) }
    guard facts.canSign else { return .renewAuthority(.key) }
    let authorityDue = authority.notAfter - policy.authorityOverlap
    if authorityDue <= now { return .renewAuthority(.ends) }
    // A little into the future is another machine's clock.
    if authority.notBefore > now + policy.backdating { return .renewAuthority(.notYetGood) }
    guard let serving = facts.serving else { return .renewServing(.missing) }
    guard facts.isSignedByFirst else { return .renewServing(.signer) }
    let servingDue = serving.notAfter - policy.servingOverlap
    if servingDue <= now { return .renewServing(.ends) }
    if serving.notBefore > now + policy.backdating { return .renewServing(.notYetGood) }
    guard facts.names.isSuperset(of: names) else { return .renewServing(.names) }
    return .keep(until: min(authorityDue, servingDue))
  }

  /// The places in the bundle of the authorities that stay beside a new one: those that are still good.
  package func kept(of authorities: [Facts.Certificate], now: Timestamp) -> [Int] {
    Array(authorities.indices.filter { authorities[$0].notAfter > now }.prefix(Self.authorityLimit - 1))
  }

  /// From when to when an authority of `now` is good.
  package func authority(now: Timestamp) -> Facts.Certificate {
    Facts.Certificate(notBefore: now - policy.backdating, notAfter: now + policy.authorityLifetime)
  }

  /// From when to when a serving certificate of `now` is good: no longer than the authority that signs it.
  package func serving(of authority: Facts.Certificate, now: Timestamp) -> Facts.Certificate {
    Facts.Certificate(
      notBefore: max(now - policy.backdating, authority.notBefore),
      notAfter: min(now + policy.servingLifetime, authority.notAfter))
  }
}
