package import CoordinationProtocol
package import RateBudget

extension LinkState {
  /// Takes in what the coordinator says.
  package mutating func received(_ frame: CoordinatorFrame, now: BudgetTime) -> [Resolution] {
    heard(lease: frame.lease, now: now)
    var resolutions: [Resolution] = []
    for group in frame.groups { configure(group, now: now) }
    for (key, share) in frame.shares {
      books[key]?.local.tell(share, now: now)
      books[key]?.wasTold = true
    }
    // Answers stand before grants: a request that was rejected may be granted again in the same frame.
    for answer in frame.answers {
      if let resolution = take(answer, now: now) { resolutions.append(resolution) }
    }
    for grant in frame.grants {
      if let resolution = take(grant, now: now) { resolutions.append(resolution) }
    }
    for note in frame.refusals {
      if let resolution = finish(note.number, note.refusal, now: now) { resolutions.append(resolution) }
    }
    return resolutions + frame.drains.map { .drain($0) }
  }

  private mutating func take(_ note: GrantNote, now: BudgetTime) -> Resolution? {
    // A grant of something that was taken back needs no answer: the cancellation on its way gives it back.
    guard let waiting = pending[note.number], waiting.early == nil else { return nil }
    books[waiting.key]?.local.mirror(waiting.request, now: now)
    // The mirror knows the grant now, and tells it.
    guard case .alreadyGranted(var grant) = books[waiting.key]?.local.budget.submit(waiting.request, now: now) else {
      return nil
    }
    grant.waited = note.waited
    grant.expires = now + note.lease
    grant.attempt = note.attempt
    return admit(note.number, grant, isShared: true).map { .admitted(note.number, $0) }
  }

  private mutating func take(_ answer: RejectionAnswer, now: BudgetTime) -> Resolution? {
    guard let note = rejected.removeValue(forKey: answer.number) else { return nil }
    live[answer.number] = nil
    progress[answer.number] = nil
    _ = books[note.key]?.local.budget.release(note.request.id, now: now)
    let decision: RejectionDecision
    switch answer.decision {
    case .requeued(let wait):
      var waiting = Pending(key: note.key, request: note.request, since: now)
      waiting.wasSent = true
      waiting.isUnattended = true
      hold(waiting)
      decision = .requeued(notBefore: now + wait)
    case .tellClient(let refusal): decision = .tellClient(refusal)
    case .unknown: decision = .unknown
    }
    return .answered(answer.number, decision)
  }
}

/// A seeded generator (SplitMix64), so that the state machine owns its randomness.
struct LinkGenerator: RandomNumberGenerator, Sendable {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
