/// How urgent a request is.
package enum Priority: Int, Hashable, Sendable, Comparable, CaseIterable {
  /// Somebody waits: served first, from the reserve as well.
  case interactive
  /// Before ordinary work.
  case high
  /// Ordinary work.
  case normal
  /// Work that may wait until nobody else wants the budget.
  case low

  /// Whether one priority is served before another.
  package static func < (left: Priority, right: Priority) -> Bool {
    left.rawValue < right.rawValue
  }
}

/// The name of a request and of the grant that answers it, unique for ever: the client's name and its own count.
package struct GrantID: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// The client (pod and incarnation) that asked.
  package var client: String
  /// The client's count of requests.
  package var number: UInt64

  /// Makes a name.
  package init(client: String, number: UInt64) {
    self.client = client
    self.number = number
  }

  /// Whether one name stands before another in every listing.
  package static func < (left: GrantID, right: GrantID) -> Bool {
    (left.client, left.number) < (right.client, right.number)
  }

  /// client#number.
  package var description: String { "\(client)#\(number)" }
}

/// What a request is expected to use. Everything is in whole tokens; a value outside 0…1,000,000,000 is held at the end.
package struct Estimate: Hashable, Sendable {
  /// Input that will be charged: uncached and cache writes.
  package var input: Int64
  /// All input, cache reads as well.
  package var inputTotal: Int64
  /// Output tokens that are likely.
  package var expectedOutput: Int64
  /// Output tokens that are possible (`max_tokens`); never reserved, it only caps the expectation.
  package var maxOutput: Int64

  /// Makes an estimate; without `inputTotal` nothing is read from a cache.
  package init(input: Int64, inputTotal: Int64? = nil, expectedOutput: Int64 = 0, maxOutput: Int64? = nil) {
    let sane: ClosedRange<Int64> = 0...1_000_000_000
    self.input = input.clamped(to: sane)
    self.inputTotal = max(self.input, (inputTotal ?? input).clamped(to: sane))
    self.maxOutput = (maxOutput ?? expectedOutput).clamped(to: sane)
    self.expectedOutput = min(expectedOutput.clamped(to: sane), self.maxOutput)
  }

  /// The part of each dimension.
  var amounts: PerDimension<Int64> {
    PerDimension(requests: 1, inputTokens: input, inputTokensTotal: inputTotal, outputTokens: expectedOutput)
  }
}

/// A wish to send one request upstream.
package struct GrantRequest: Hashable, Sendable {
  /// The name of the wish and of its grant.
  package var id: GrantID
  /// The fleet whose share it comes out of.
  package var fleet: String
  /// How urgent it is; nil: the fleet's priority.
  package var priority: Priority?
  /// What it is expected to use.
  package var estimate: Estimate
  /// When its client gives up.
  package var deadline: BudgetTime
  /// The model, for prices and learned emission rates.
  package var model: String
  /// The kind of worker, for learned emission rates.
  package var kind: String

  /// Makes a request.
  package init(
    id: GrantID, fleet: String, priority: Priority? = nil, estimate: Estimate, deadline: BudgetTime, model: String = "",
    kind: String = ""
  ) {
    self.id = id
    self.fleet = fleet
    self.priority = priority
    self.estimate = estimate
    self.deadline = deadline
    self.model = model
    self.kind = kind
  }

  /// The client that asked.
  package var client: String { id.client }
}

/// The right to send one request upstream now.
package struct Grant: Hashable, Sendable {
  /// Which request may be sent.
  package var id: GrantID
  /// How long it waited.
  package var waited: Duration
  /// When it expires unless it is settled: it stays charged at its estimate then.
  package var expires: BudgetTime
  /// How often upstream has already answered it 429.
  package var attempt: Int
}

/// Why a request isn't granted.
package enum Refusal: Hashable, Sendable {
  /// As many requests wait as may.
  case queueFull(limit: Int)
  /// More clients or fleets than the budget keeps books on.
  case tooManyClients(limit: Int)
  /// A ceiling of money is reached.
  case spendCeiling(SpendPeriod, resumesIn: Duration)
  /// Upstream says that money has run out; nothing is sent until somebody raises the limit.
  case upstreamSpendLimit(code: String)
  /// Upstream asked for a longer pause than a client should be kept waiting.
  case upstreamPause(retryAfter: Duration)
  /// The next attempt would come after the request's deadline.
  case deadlineBeforeRetry(retryAfter: Duration)

  /// Whether the client may try again within the time that clients accept.
  package var isWorthRetrying: Bool {
    switch self {
    case .queueFull, .deadlineBeforeRetry, .tooManyClients: true
    case .spendCeiling, .upstreamSpendLimit, .upstreamPause: false
    }
  }

  /// What to tell the user, in one sentence.
  package var explanation: String {
    switch self {
    case .queueFull(let limit):
      "\(limit) requests already wait for the API budget; use fewer workers or raise the limit"
    case .tooManyClients(let limit):
      "more than \(limit) clients draw from this API budget; split it or remove dead workers"
    case .spendCeiling(let period, let wait):
      "the \(period == .hour ? "hourly" : "daily") spend ceiling of this budget is reached; it frees up in "
        + "\(wait.components.seconds) s, or raise spec.spend"
    case .upstreamSpendLimit(let code):
      "the API reports that a spend limit is reached (\(code)); raise it in the Claude Console"
    case .upstreamPause(let wait):
      "the API asked for a pause of \(wait.components.seconds) s, longer than a request is held"
    case .deadlineBeforeRetry(let wait):
      "the API asked for a pause of \(wait.components.seconds) s, which is after this request's deadline"
    }
  }
}

/// What became of a submitted request at once.
package enum Submission: Hashable, Sendable {
  /// It waits; `advance` tells when it is granted.
  case queued
  /// It waits already under the same id.
  case alreadyQueued
  /// It has been granted already under the same id.
  case alreadyGranted(Grant)
  /// It will not be granted.
  case refused(Refusal)
}

/// What became of a waiting request.
package enum Outcome: Hashable, Sendable {
  /// It may be sent now.
  case granted(Grant)
  /// Its deadline has passed.
  case expired(GrantID)
  /// It will not be granted.
  case refused(GrantID, Refusal)

  /// Which request it is about.
  package var id: GrantID {
    switch self {
    case .granted(let grant): grant.id
    case .expired(let id), .refused(let id, _): id
    }
  }
}
