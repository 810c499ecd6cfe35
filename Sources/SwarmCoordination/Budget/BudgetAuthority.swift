package import RateBudget

/// Who gives grants: this process alone (`LocalAuthority`), or the coordinator of the fleet.
///
/// The gateway asks before each attempt upstream, and tells what came of it. Every grant ends by exactly one of `settle`
/// with a final usage, `release` or `reject`; those are idempotent by grant id and never wait.
package protocol BudgetAuthority: Sendable {
  /// The group whose limits a model draws on now; an empty model is a request that can't be read.
  func group(model: String, speed: String) -> GroupKey

  /// Waits for a grant. Cancelling the task withdraws the request, without a charge.
  ///
  /// - Throws: `AdmissionError` when it is refused or when its deadline passes.
  func acquire(_ request: AdmissionRequest) async throws(AdmissionError) -> Admission

  /// Notes the usage so far of a stream, or its last (`isFinal`).
  func settle(_ admission: Admission, usage: Usage, isFinal: Bool)

  /// Gives a grant back that caused no charge upstream: never sent, or failed before upstream took it.
  func release(_ admission: Admission)

  /// Notes the rate-limit headers of a response.
  func observe(_ headers: RateHeaders, of admission: Admission)

  /// Notes that upstream refused a granted request, and gets what to do: the request stays at the queue's head when it
  /// is worth another attempt, and `acquire` with the same id waits for it.
  func reject(_ admission: Admission, verdict: UpstreamVerdict, headers: RateHeaders) async -> RejectionDecision
}

/// One request before it is sent.
package struct AdmissionRequest: Sendable {
  /// The group of models whose limits it draws on; nil for what is not metered.
  package var group: GroupKey
  /// What is known of its cost.
  package var grant: GrantRequest

  /// Makes a request.
  package init(group: GroupKey, grant: GrantRequest) {
    self.group = group
    self.grant = grant
  }
}

/// A grant in use.
package struct Admission: Hashable, Sendable {
  /// Where it was given.
  package var group: GroupKey
  /// The grant.
  package var grant: Grant

  /// Makes an admission.
  package init(group: GroupKey, grant: Grant) {
    self.group = group
    self.grant = grant
  }
}

/// Why a request isn't sent.
package enum AdmissionError: Error, Hashable, Sendable {
  /// The budget refuses it.
  case refused(Refusal)
  /// No grant came before the deadline.
  case deadlineExceeded(waited: Duration)
  /// The task was cancelled.
  case cancelled
}
