import Foundation
import KubernetesCore
import NIOSSL
import SwiftASN1
import Testing
@_spi(FixedExpiryValidationTime) import X509

@testable import FleetCertificates

/// Certificates as they are made, checked by X509's own verifier.
struct CertificateSetTests {
  private static let day = Duration.seconds(86_400)
  private static let plan = CertificatePlan(names: ["webhook.ns.svc", "127.0.0.1", "::1"])
  private static let start = Timestamp(secondsSinceEpoch: 1_800_000_000)

  private func trusts(_ authorities: String, _ chain: String, at now: Timestamp) async throws -> Bool {
    let roots = try PEMDocument.parseMultiple(pemString: authorities).map { try Certificate(pemDocument: $0) }
    let shown = try PEMDocument.parseMultiple(pemString: chain).map { try Certificate(pemDocument: $0) }
    let date = Date(timeIntervalSince1970: Double(now.secondsSinceEpoch))
    var verifier = Verifier(rootCertificates: CertificateStore(roots)) {
      RFC5280Policy(fixedExpiryValidationTime: date)
    }
    let result = await verifier.validate(
      leaf: try #require(shown.first), intermediates: CertificateStore(shown.dropFirst()))
    if case .validCertificate = result { return true }
    return false
  }

  @Test("What is made is what the plan wants: nothing is due at once")
  func fresh() async throws {
    let set = try CertificateSet().after(.renewAuthority(.missing), Self.plan, now: Self.start)
    #expect(Self.plan.step(set.facts, now: Self.start) == .keep(until: Self.start + Self.day * 60))
    #expect(set.facts.names == Self.plan.names)
    #expect(try await trusts(set.authorities, set.servingChain, at: Self.start))
    #expect(CertificateSet(secretData: set.secretData) == set)
  }

  @Test("Over thirty years each certificate is trusted by every bundle that was given out in the five years before it")
  func decades() async throws {
    var set = CertificateSet()
    var now = Self.start
    var bundles: [(at: Timestamp, authorities: String)] = []
    var authorities = 0
    while now < Self.start + Self.day * 10_950 {
      let step = Self.plan.step(set.authorities.isEmpty ? nil : set.facts, now: now)
      if case .keep(let until) = step {
        now = until
        continue
      }
      set = try set.after(step, Self.plan, now: now)
      if case .renewAuthority = step { authorities += 1 }
      bundles.removeAll { $0.authorities == set.authorities }
      bundles.append((now, set.authorities))
      for bundle in bundles where now - bundle.at < Self.day * 1_824 {
        let age = (now - bundle.at).components.seconds / 86_400
        #expect(try await trusts(bundle.authorities, set.servingChain, at: now), "a bundle of \(age) days ago")
      }
      #expect(set.facts.authorities.count <= 3)
    }
    #expect(authorities == 6)
  }

  @Test("A certificate and its successor are both trusted by the bundle of before and by the bundle of after")
  func overlap() async throws {
    let old = try CertificateSet().after(.renewAuthority(.missing), Self.plan, now: Self.start)
    let now = Self.start + Self.day
    for step in [CertificatePlan.Step.renewAuthority(.ends), .renewServing(.names)] {
      let new = try old.after(step, Self.plan, now: now)
      #expect(new.servingChain != old.servingChain)
      for bundle in [old.authorities, new.authorities] {
        for chain in [old.servingChain, new.servingChain] {
          #expect(try await trusts(bundle, chain, at: now))
        }
      }
    }
  }

  @Test("A Secret that somebody has damaged is mended, and says what was missing")
  func damage() async throws {
    let good = try CertificateSet().after(.renewAuthority(.missing), Self.plan, now: Self.start)
    let other = try CertificateSet().after(.renewAuthority(.missing), Self.plan, now: Self.start)
    var cases: [(CertificateSet, CertificatePlan.Step)] = []
    for text in ["", "garbage", other.authorityKey] {
      var set = good
      set.authorityKey = text
      cases.append((set, .renewAuthority(.key)))
      set = good
      set.servingKey = text
      cases.append((set, .renewServing(.missing)))
    }
    var set = good
    set.servingChain = other.servingChain
    set.servingKey = other.servingKey
    cases.append((set, .renewServing(.signer)))
    for (set, step) in cases {
      #expect(Self.plan.step(set.facts, now: Self.start) == step)
      let mended = try set.after(step, Self.plan, now: Self.start)
      if case .keep = Self.plan.step(mended.facts, now: Self.start) {} else { Issue.record("\(step) mends nothing") }
      #expect(try await trusts(mended.authorities, mended.servingChain, at: Self.start))
    }
  }

  @Test("Servers show the newest certificate, and keep the old one when the new one can't be used")
  func identity() throws {
    let identity = ServingIdentity()
    let first = try CertificateSet().after(.renewAuthority(.missing), Self.plan, now: Self.start)
    let second = try first.after(.renewServing(.ends), Self.plan, now: Self.start)
    #expect(!identity.isReady)
    #expect(try identity.show(chain: first.servingChain, key: first.servingKey, authorities: first.authorities))
    #expect(try !identity.show(chain: first.servingChain, key: first.servingKey, authorities: first.authorities))
    #expect(throws: (any Error).self) {
      try identity.show(chain: second.servingChain, key: first.servingKey, authorities: nil)
    }
    #expect(identity.sslContextConfigurationOverride.certificateChain?.count == 1)
    #expect(try identity.show(chain: second.servingChain, key: second.servingKey, authorities: second.authorities))
    #expect(identity.authorities == second.authorities)
  }
}
