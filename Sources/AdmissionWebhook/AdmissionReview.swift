package import KubernetesCore

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What an API server asks a webhook (`admission.k8s.io/v1`).
package struct AdmissionRequest: Sendable {
  /// The name of this question; the answer repeats it.
  package var uid: String
  /// CREATE, UPDATE, DELETE or CONNECT.
  package var operation: String
  /// The kind of the object.
  package var kind: String
  /// The namespace; empty for objects without one.
  package var namespace: String
  /// The subresource; empty for the object itself.
  package var subresource: String
  /// The object as it is to be.
  package var object: JSONValue
  /// The object as it is; null for a new one.
  package var oldObject: JSONValue

  /// Reads a review; throws `.invalid` when it is none of this version.
  package init(review bytes: [UInt8]) throws(KubernetesError) {
    let review = try KubernetesJSON.parse(bytes)
    guard review["kind"] == "AdmissionReview", review["apiVersion"] == "admission.k8s.io/v1",
      let request = review["request"], let uid = request["uid"]?.stringValue, !uid.isEmpty
    else { throw KubernetesError(.invalid, "an AdmissionReview of admission.k8s.io/v1 with a request is needed") }
    self.uid = uid
    operation = request["operation"]?.stringValue ?? ""
    kind = request["kind"]?["kind"]?.stringValue ?? ""
    namespace = request["namespace"]?.stringValue ?? ""
    subresource = request["subResource"]?.stringValue ?? ""
    object = request["object"] ?? .null
    oldObject = request["oldObject"] ?? .null
  }
}

/// What a webhook answers.
package struct AdmissionResponse: Hashable, Sendable {
  /// Why the object is refused; nil: it isn't.
  package var refusal: String?
  /// Operations of a JSON patch.
  package var patch: [JSONValue] = []
  /// What the user is told beside.
  package var warnings: [String] = []
  /// What became of it, in a word, for metrics and audit logs.
  package var outcome: String

  /// The longest warning, in characters: API servers cut what is together longer than 4,096.
  private static let warningLength = 256

  /// The object is let in as it is.
  package static func allowed(_ outcome: String) -> AdmissionResponse { AdmissionResponse(outcome: outcome) }

  /// The answer to a request.
  package func review(of uid: String) -> [UInt8] {
    var response: JSONValue = [
      "uid": .string(uid), "allowed": .bool(refusal == nil), "auditAnnotations": ["outcome": .string(outcome)],
    ]
    if let refusal {
      response["status"] = ["status": "Failure", "message": .string(refusal), "reason": "Invalid", "code": 422]
    }
    if !patch.isEmpty {
      response["patchType"] = "JSONPatch"
      response["patch"] = .string(Data(JSONValue.array(patch).text).base64EncodedString())
    }
    if !warnings.isEmpty {
      response["warnings"] = .array(warnings.map { .string(String($0.prefix(Self.warningLength))) })
    }
    return (["apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response] as JSONValue).text
  }
}
