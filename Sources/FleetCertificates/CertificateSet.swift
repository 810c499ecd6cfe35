import Crypto
package import KubernetesCore
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The certificates and keys that all replicas share, as PEM: what the Secret holds.
package struct CertificateSet: Hashable, Sendable {
  /// The names of the Secret's data.
  package enum Field: String, CaseIterable, Sendable {
    /// The serving certificate, and below it those that lead from its authority to older ones.
    case servingChain = "tls.crt"
    /// The serving certificate's key.
    case servingKey = "tls.key"
    /// The authorities to trust, the one that signs first.
    case authorities = "ca.crt"
    /// The key of the first authority.
    case authorityKey = "ca.key"
  }

  /// The serving certificate, and below it those that lead from its authority to older ones.
  package var servingChain: String
  /// The serving certificate's key.
  package var servingKey: String
  /// The authorities to trust, the one that signs first.
  package var authorities: String
  /// The key of the first authority.
  package var authorityKey: String

  /// Makes a set.
  package init(servingChain: String = "", servingKey: String = "", authorities: String = "", authorityKey: String = "")
  {
    self.servingChain = servingChain
    self.servingKey = servingKey
    self.authorities = authorities
    self.authorityKey = authorityKey
  }

  // MARK: Facts

  /// What there is of it, as far as it can be read: what can't counts as missing, and is made anew.
  package var facts: CertificatePlan.Facts {
    let authorities = Self.certificates(self.authorities)
    let chain = Self.certificates(servingChain)
    let signer = authorities.first.flatMap { Self.key(authorityKey, of: $0) }
    let leaf = chain.first.flatMap { Self.key(servingKey, of: $0) == nil ? nil : $0 }
    return CertificatePlan.Facts(
      authorities: authorities.map(Self.facts), canSign: signer != nil, serving: leaf.map(Self.facts),
      names: leaf.map(Self.names) ?? [],
      isSignedByFirst: leaf.map { leaf in
        authorities.first?.publicKey.isValidSignature(leaf.signature, for: leaf) ?? false
      } ?? false)
  }

  private static func certificates(_ pem: String) -> [Certificate] {
    ((try? PEMDocument.parseMultiple(pemString: pem)) ?? []).compactMap { try? Certificate(pemDocument: $0) }
  }

  private static func key(_ pem: String, of certificate: Certificate) -> Certificate.PrivateKey? {
    guard let key = try? Certificate.PrivateKey(pemEncoded: pem), key.publicKey == certificate.publicKey else {
      return nil
    }
    return key
  }

  private static func facts(_ certificate: Certificate) -> CertificatePlan.Facts.Certificate {
    CertificatePlan.Facts.Certificate(
      notBefore: Timestamp(secondsSinceEpoch: Int64(certificate.notValidBefore.timeIntervalSince1970)),
      notAfter: Timestamp(secondsSinceEpoch: Int64(certificate.notValidAfter.timeIntervalSince1970)))
  }

  private static func names(_ certificate: Certificate) -> Set<String> {
    guard let names = try? certificate.extensions.subjectAlternativeNames else { return [] }
    return Set(
      names.compactMap { name in
        switch name {
        case .dnsName(let name): name
        case .ipAddress(let address): IPAddress(bytes: Array(address.bytes))?.text
        default: nil
        }
      })
  }

  // MARK: Making

  /// This set after a step. `names` are DNS names and addresses.
  package func after(_ step: CertificatePlan.Step, _ plan: CertificatePlan, now: Timestamp) throws -> CertificateSet {
    switch step {
    case .keep: self
    case .renewServing: try renewingServing(plan, crossed: Array(Self.certificates(servingChain).dropFirst()), now: now)
    case .renewAuthority: try renewingAuthority(plan, now: now)
    }
  }

  private func renewingAuthority(_ plan: CertificatePlan, now: Timestamp) throws -> CertificateSet {
    let present = Self.certificates(authorities)
    let kept = plan.kept(of: present.map(Self.facts), now: now).map { present[$0] }
    let key = P256.Signing.PrivateKey()
    let name = try DistinguishedName {
      OrganizationName("Swarmscale")
      CommonName("Swarmscale authority \(UInt32.random(in: .min ... .max))")
    }
    let own = try Self.authority(
      of: .init(key), named: name, for: plan.authority(now: now), signedBy: .init(key), named: name)
    var crossed = Array(Self.certificates(servingChain).dropFirst())
    if let old = kept.first, let oldKey = Self.key(authorityKey, of: old) {
      // Signed by the old one as well: pods that run already know the old one only.
      let validity = CertificatePlan.Facts.Certificate(
        notBefore: plan.authority(now: now).notBefore, notAfter: Self.facts(old).notAfter)
      crossed.insert(
        try Self.authority(of: .init(key), named: name, for: validity, signedBy: oldKey, named: old.subject), at: 0)
    } else {
      // Nothing leads from the new one to the old ones.
      crossed = []
    }
    var result = CertificateSet()
    result.authorities = try ([own] + kept).map { try $0.serializeAsPEM().pemString + "\n" }.joined()
    result.authorityKey = key.pemRepresentation + "\n"
    return try result.renewingServing(plan, crossed: crossed, now: now)
  }

  private func renewingServing(
    _ plan: CertificatePlan, crossed: [Certificate], now: Timestamp
  ) throws -> CertificateSet {
    guard let authority = Self.certificates(authorities).first, let signer = Self.key(authorityKey, of: authority)
    else {
      throw KubernetesError(.misconfigured, "the authority's certificate and key don't belong together")
    }
    let key = P256.Signing.PrivateKey()
    let validity = plan.serving(of: Self.facts(authority), now: now)
    let names = plan.names.sorted().map { name -> GeneralName in
      IPAddress(name).map { .ipAddress(ASN1OctetString(contentBytes: $0.bytes[...])) } ?? .dnsName(name)
    }
    let publicKey = Certificate.PrivateKey(key).publicKey
    let leaf = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: publicKey,
      notValidBefore: Self.date(validity.notBefore), notValidAfter: Self.date(validity.notAfter),
      issuer: authority.subject, subject: try DistinguishedName { CommonName("swarmscale-controller") },
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([.serverAuth])
        SubjectAlternativeNames(names)
        Self.identifier(of: authority.publicKey)
      },
      issuerPrivateKey: signer)
    var result = self
    let chain = [leaf] + crossed.filter { Self.facts($0).notAfter > now }
    result.servingChain = try chain.map { try $0.serializeAsPEM().pemString + "\n" }.joined()
    result.servingKey = key.pemRepresentation + "\n"
    return result
  }

  private static func authority(
    of key: Certificate.PrivateKey, named name: DistinguishedName, for validity: CertificatePlan.Facts.Certificate,
    signedBy signer: Certificate.PrivateKey, named signerName: DistinguishedName
  ) throws -> Certificate {
    try Certificate(
      version: .v3, serialNumber: .init(), publicKey: key.publicKey, notValidBefore: date(validity.notBefore),
      notValidAfter: date(validity.notAfter), issuer: signerName, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: key.publicKey)
        identifier(of: signer.publicKey)
      },
      issuerPrivateKey: signer)
  }

  private static func identifier(of key: Certificate.PublicKey) -> AuthorityKeyIdentifier {
    AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: key).keyIdentifier)
  }

  private static func date(_ timestamp: Timestamp) -> Date {
    Date(timeIntervalSince1970: Double(timestamp.secondsSinceEpoch))
  }

  // MARK: Secret

  /// The set that a Secret's `data` holds; what is missing is empty.
  package init(secretData data: JSONValue?) {
    func text(_ field: Field) -> String {
      guard let encoded = data?[field.rawValue]?.stringValue, let bytes = Data(base64Encoded: encoded) else {
        return ""
      }
      return String(decoding: bytes, as: UTF8.self)
    }
    self.init(
      servingChain: text(.servingChain), servingKey: text(.servingKey), authorities: text(.authorities),
      authorityKey: text(.authorityKey))
  }

  /// The same as a Secret's `data`.
  package var secretData: JSONValue {
    var data: [String: JSONValue] = [:]
    for (field, text) in [
      (Field.servingChain, servingChain), (.servingKey, servingKey), (.authorities, authorities),
      (.authorityKey, authorityKey),
    ] { data[field.rawValue] = .string(Data(text.utf8).base64EncodedString()) }
    return .object(data)
  }

  /// The authorities as a `caBundle`.
  package var bundle: String { Data(authorities.utf8).base64EncodedString() }
}

/// An address in a certificate.
private struct IPAddress {
  var bytes: [UInt8]

  init?(bytes: [UInt8]) {
    guard bytes.count == 4 || bytes == Self.loopback6 else { return nil }
    self.bytes = bytes
  }

  private static let loopback6 = Array(repeating: UInt8(0), count: 15) + [1]

  /// IPv4, or `::1`: services are called by name.
  init?(_ text: String) {
    if text == "::1" {
      bytes = Self.loopback6
      return
    }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
    guard parts.count == 4, !parts.contains(nil) else { return nil }
    bytes = parts.compactMap { $0 }
  }

  var text: String { bytes == Self.loopback6 ? "::1" : bytes.map(String.init).joined(separator: ".") }
}
