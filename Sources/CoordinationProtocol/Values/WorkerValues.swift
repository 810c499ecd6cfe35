package import RateBudget

/// Who a worker says it is.
package struct WorkerIdentity: Hashable, Sendable {
  /// The pod's namespace.
  package var namespace: String
  /// The pod's name.
  package var pod: String
  /// The pod's uid; empty when unknown.
  package var uid: String
  /// The autoscaler that the pod belongs to, in the same namespace; empty: none.
  package var fleet: String
  /// The kind of worker, for learned output rates.
  package var kind: String
  /// Differs for each process.
  package var incarnation: String

  /// Makes an identity.
  package init(
    namespace: String, pod: String, uid: String = "", fleet: String = "", kind: String = "", incarnation: String
  ) {
    self.namespace = namespace
    self.pod = pod
    self.uid = uid
    self.fleet = fleet
    self.kind = kind
    self.incarnation = incarnation
  }

  /// The name of the client in grant ids: namespace/pod/incarnation.
  package var client: String { "\(namespace)/\(pod)/\(incarnation)" }
  /// The name of the fleet in budgets: namespace/autoscaler.
  package var fleetName: String { "\(namespace)/\(fleet)" }
}

/// What a worker does now.
package struct WorkerActivity: Hashable, Sendable {
  /// How many pieces of work it can hold at once; 0: unknown.
  package var slots: Int
  /// How many it holds.
  package var busy: Int
  /// How many requests are at the API.
  package var inFlight: Int
  /// How many requests wait for the budget. The work that they are of is among the busy: it asks for no more workers.
  package var waiting: Int
  /// The age of its oldest piece of work.
  package var oldestAge: Duration
  /// How many pieces of work wait for a slot of this worker: more workers would take them.
  package var queued: Int
  /// How many pieces of work this process has finished so far.
  package var completed: UInt64
  /// The age of the work that would be lost if it ended now, where it keeps checkpoints; nil: `oldestAge`.
  package var unsavedAge: Duration?
  /// The queues that it takes tasks from, by name; several workers tell of the same ones.
  package var queues: [QueueDepth]

  /// Makes a report.
  package init(
    slots: Int = 0, busy: Int = 0, inFlight: Int = 0, waiting: Int = 0, oldestAge: Duration = .zero, queued: Int = 0,
    completed: UInt64 = 0, unsavedAge: Duration? = nil, queues: [QueueDepth] = []
  ) {
    self.slots = slots
    self.busy = busy
    self.inFlight = inFlight
    self.waiting = waiting
    self.oldestAge = oldestAge
    self.queued = queued
    self.completed = completed
    self.unsavedAge = unsavedAge
    self.queues = queues
  }
}

/// Tasks that wait in a queue, as one of those who take from it saw it.
package struct QueueDepth: Hashable, Sendable {
  /// The queue's name.
  package var queue: String
  /// Tasks that could be taken then.
  package var waiting: Int
  /// How long ago that was.
  package var age: Duration

  /// Puts it together.
  package init(queue: String, waiting: Int, age: Duration = .zero) {
    self.queue = queue
    self.waiting = waiting
    self.age = age
  }
}

/// What a worker brings with it of one group.
package struct GroupMemory: Hashable, Sendable {
  /// The group.
  package var key: GroupKey
  /// The share that it was told last; nil: never.
  package var share: Share?
  /// Its grants that aren't settled.
  package var outstanding: [AdoptedGrant]
  /// What it has used in a minute lately, in micro-units; nil: it doesn't say.
  package var used: PerDimension<Int64>?

  /// Makes a memory.
  package init(
    key: GroupKey, share: Share? = nil, outstanding: [AdoptedGrant] = [], used: PerDimension<Int64>? = nil
  ) {
    self.key = key
    self.share = share
    self.outstanding = outstanding
    self.used = used
  }
}

/// The first message of a worker.
package struct WorkerHello: Hashable, Sendable {
  /// Who it is.
  package var identity: WorkerIdentity
  /// What it can do beyond the protocol's version.
  package var capabilities: [String]
  /// What it has from before.
  package var groups: [GroupMemory]
  /// What it does.
  package var activity: WorkerActivity?
  /// The order to drain that it keeps to.
  package var drain: StandingDrain?

  /// Makes a hello.
  package init(
    identity: WorkerIdentity, capabilities: [String] = [], groups: [GroupMemory] = [], activity: WorkerActivity? = nil,
    drain: StandingDrain? = nil
  ) {
    self.identity = identity
    self.capabilities = capabilities
    self.groups = groups
    self.activity = activity
    self.drain = drain
  }
}

/// An order to drain that a worker keeps to when it joins: a coordinator that hasn't given it takes it over.
package struct StandingDrain: Hashable, Sendable {
  /// Which order.
  package var order: UInt64
  /// How long the worker has kept to it.
  package var age: Duration
  /// What the worker says to it.
  package var state: DrainState

  /// Makes an order.
  package init(order: UInt64, age: Duration, state: DrainState) {
    self.order = order
    self.age = age
    self.state = state
  }
}

/// What a grant has used.
package struct SettlementNote: Hashable, Sendable {
  /// What kind of note it is.
  package enum Kind: Hashable, Sendable {
    /// So much so far.
    case progress
    /// So much in all.
    case final
    /// Never sent, or no charge upstream.
    case released
  }

  /// The group.
  package var group: GroupKey
  /// The grant's number.
  package var number: UInt64
  /// What kind of note it is.
  package var kind: Kind
  /// The usage.
  package var usage: Usage

  /// Makes a note.
  package init(group: GroupKey, number: UInt64, kind: Kind, usage: Usage = Usage()) {
    self.group = group
    self.number = number
    self.kind = kind
    self.usage = usage
  }
}

/// That upstream refused a granted request.
package struct RejectionNote: Hashable, Sendable {
  /// The group.
  package var group: GroupKey
  /// The grant's number.
  package var number: UInt64
  /// What upstream's answer means.
  package var verdict: UpstreamVerdict
  /// Its rate-limit headers.
  package var headers: RateHeaders

  /// Makes a note.
  package init(group: GroupKey, number: UInt64, verdict: UpstreamVerdict, headers: RateHeaders = RateHeaders()) {
    self.group = group
    self.number = number
    self.verdict = verdict
    self.headers = headers
  }
}

/// A request for a grant.
package struct RequestNote: Hashable, Sendable {
  /// The group.
  package var group: GroupKey
  /// What is asked for.
  package var request: GrantRequest

  /// Makes a note.
  package init(group: GroupKey, request: GrantRequest) {
    self.group = group
    self.request = request
  }
}

/// A number in a group.
package struct NumberNote: Hashable, Sendable {
  /// The group.
  package var group: GroupKey
  /// The number.
  package var number: UInt64

  /// Makes a note.
  package init(group: GroupKey, number: UInt64) {
    self.group = group
    self.number = number
  }
}

/// What a worker says to an order to drain.
package enum DrainState: Hashable, Sendable {
  /// It takes no new work, and has some left.
  case accepted
  /// It has none left.
  case drained
  /// It goes on working.
  case refused
}

/// A worker's answer to an order to drain.
package struct DrainAnswer: Hashable, Sendable {
  /// Which order.
  package var order: UInt64
  /// What it says.
  package var state: DrainState

  /// Makes an answer.
  package init(order: UInt64, state: DrainState) {
    self.order = order
    self.state = state
  }
}

/// Everything that a worker says in one batch; taken in in the order of the fields.
package struct WorkerFrame: Hashable, Sendable {
  /// Groups that it speaks of for the first time.
  package var groups: [GroupKey] = []
  /// Headers of responses.
  package var observations: [(group: GroupKey, headers: RateHeaders)] = []
  /// What grants have used.
  package var settlements: [SettlementNote] = []
  /// What upstream refused.
  package var rejections: [RejectionNote] = []
  /// What it asks for.
  package var requests: [RequestNote] = []
  /// What it doesn't want any more.
  package var cancellations: [NumberNote] = []
  /// What it does now.
  package var activity: WorkerActivity?
  /// Answers to orders.
  package var drainAnswers: [DrainAnswer] = []
  /// Whether the worker ends for good.
  package var isGoodbye = false

  /// Makes an empty frame.
  package init() {}

  /// Whether nothing is said.
  package var isEmpty: Bool {
    groups.isEmpty && observations.isEmpty && settlements.isEmpty && rejections.isEmpty && requests.isEmpty
      && cancellations.isEmpty && activity == nil && drainAnswers.isEmpty && !isGoodbye
  }

  package static func == (left: WorkerFrame, right: WorkerFrame) -> Bool {
    left.groups == right.groups && left.settlements == right.settlements && left.rejections == right.rejections
      && left.requests == right.requests && left.cancellations == right.cancellations
      && left.activity == right.activity && left.drainAnswers == right.drainAnswers
      && left.isGoodbye == right.isGoodbye
      && left.observations.elementsEqual(right.observations) { $0 == $1 }
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(settlements)
    hasher.combine(requests)
    hasher.combine(cancellations)
  }
}
