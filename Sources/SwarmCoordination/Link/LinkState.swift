package import CoordinationProtocol
package import RateBudget

/// What a worker's link to the coordinator knows and decides; a pure state machine that `CoordinatorLink` drives.
///
/// Connected, requests go to the coordinator and its grants are mirrored in a `LocalBudget`; alone, that budget grants
/// within the worker's share. Nothing is lost in between: what waits goes to whoever grants now, what is unsettled is
/// brought along, and what was settled meanwhile is told later.
package struct LinkState: Sendable {
  /// A request that has no answer yet.
  struct Pending: Sendable {
    var key: GroupKey
    var request: GrantRequest
    var since: BudgetTime
    /// Whether the coordinator may have heard of it.
    var wasSent = false
    /// Whether nobody waits for it: upstream has refused it, and its client is told to ask again.
    var isUnattended = false
    /// Its grant, if that came while nobody waited for it.
    var early: Grant?
  }

  /// A grant in use.
  struct Live: Sendable {
    var key: GroupKey
    var request: GrantRequest
    /// Whether the coordinator knows it.
    var isShared: Bool
    /// Whether a hello on its way tells the coordinator of it.
    var isAnnounced = false
    /// Whether the coordinator was told what its input is.
    var isInputTold = false
  }

  /// A rejection that the coordinator hasn't answered.
  struct Rejected: Sendable {
    var key: GroupKey
    var request: GrantRequest
    var verdict: UpstreamVerdict
    var headers: RateHeaders
  }

  struct Books: Sendable {
    var local: LocalBudget
    /// Whether a coordinator has told a share.
    var wasTold = false
  }

  /// What has become of what somebody waits for.
  package enum Resolution: Sendable {
    /// A request may be sent.
    case admitted(UInt64, Admission)
    /// A request won't be.
    case failed(UInt64, AdmissionError)
    /// What to do with a rejected one.
    case answered(UInt64, RejectionDecision)
    /// An order of the coordinator.
    case drain(DrainOrder)
  }

  /// What became of a request at once.
  package enum Acquisition: Sendable {
    /// It may be sent.
    case admitted(Admission)
    /// It won't be.
    case failed(AdmissionError)
    /// A resolution comes.
    case waiting
  }

  /// What a driver has to do after a note.
  package enum Urgency: Hashable, Sendable {
    /// Nothing.
    case none
    /// Look at the next deadline again.
    case wake
    /// Send what is outgoing.
    case send
  }

  /// How often the output of running streams is told; the emission of a fleet is steered by its model, not by this.
  static let progressEvery: Duration = .seconds(1)
  /// How long past a deadline the coordinator's word is awaited.
  static let grace: Duration = .seconds(2)
  /// How many settlements are kept for a coordinator that isn't there.
  static let keptSettlements = 8_192

  let identity: WorkerIdentity
  let configuration: LinkConfiguration
  /// Whether the coordinator grants now.
  package private(set) var isConnected = false
  /// The coordinator that was there last.
  package internal(set) var coordinator: String?
  /// The groups that it has configured, in its order.
  package internal(set) var configured: [GroupConfiguration] = [] {
    didSet {
      plan = configured.isEmpty ? BudgetPlan() : BudgetPlan(groups: configured, fallback: configuration.defaults)
      plan.scope = Self.scope(of: identity)
    }
  }
  /// Which model draws on which group.
  package private(set) var plan = BudgetPlan()
  /// How often it was welcomed, and how its requests were admitted.
  package private(set) var counts = LinkCounts()
  /// Until when requests wait for a first word of a coordinator before the worker's own share is used.
  private var patientUntil: BudgetTime?
  var books: [GroupKey: Books] = [:]
  var pending: [UInt64: Pending] = [:]
  var live: [UInt64: Live] = [:]
  var rejected: [UInt64: Rejected] = [:]
  var outgoing = WorkerFrame()
  var progress: [UInt64: SettlementNote] = [:]
  private var progressDue = BudgetTime.zero
  var activity: WorkerActivity?
  /// Before this nothing is overdue.
  private var overdueAt: BudgetTime?
  private var lease: Duration = .seconds(15)
  private var heardAt = BudgetTime.zero
  private(set) var isLeaving = false
  var generator: LinkGenerator

  /// Makes the state of a worker that isn't connected yet.
  package init(identity: WorkerIdentity, configuration: LinkConfiguration, seed: UInt64) {
    self.identity = identity
    self.configuration = configuration
    generator = LinkGenerator(state: seed)
    plan.scope = Self.scope(of: identity)
  }

  /// Not the name of a configured group, since no object's name has a slash.
  private static func scope(of identity: WorkerIdentity) -> String { "\(identity.namespace)/models/" }

  // MARK: The gateway's side

  /// Asks for a grant.
  package mutating func acquire(_ request: AdmissionRequest, now: BudgetTime) -> Acquisition {
    let number = request.grant.id.number
    if let known = pending[number] {
      guard known.isUnattended else { return .failed(.cancelled) }
      if let grant = known.early {
        pending[number] = nil
        return .admitted(Admission(group: known.key, grant: grant))
      }
      pending[number]?.isUnattended = false
      return .waiting
    }
    let key = home(of: request.grant, in: request.group)
    guard open(key, now: now) else {
      return .failed(.refused(.tooManyClients(limit: ProtocolLimits.groups)))
    }
    hold(Pending(key: key, request: request.grant, since: now))
    guard !isConnected else {
      send(number)
      return .waiting
    }
    if isPatient(at: now) { return .waiting }
    return submitHere(number, now: now) ?? .waiting
  }

  /// Whether the coordinator's first word is still awaited: before it nobody knows which groups there are.
  private mutating func isPatient(at now: BudgetTime) -> Bool {
    guard coordinator == nil, configuration.patience > .zero else { return false }
    let until = patientUntil ?? now + configuration.patience
    patientUntil = until
    return now < until
  }

  mutating func hold(_ request: Pending) {
    pending[request.request.id.number] = request
    let overdue = request.request.deadline + Self.grace
    overdueAt = min(overdueAt ?? overdue, overdue)
  }

  /// Makes the books of a group unless there are; false: there are as many as may be.
  private mutating func open(_ key: GroupKey, now: BudgetTime) -> Bool {
    if books[key] != nil { return true }
    guard books.count < ProtocolLimits.groups else { return false }
    let budget = configured.first { $0.covers(key) }?.budget ?? configuration.defaults
    var local = LocalBudget(configuration: budget, initial: configuration.initialShare(budget), now: now)
    if isConnected { _ = local.connect(now: now) }
    books[key] = Books(local: local)
    return true
  }

  private mutating func send(_ number: UInt64) {
    guard let waiting = pending[number] else { return }
    outgoing.requests.append(RequestNote(group: waiting.key, request: waiting.request))
    pending[number]?.wasSent = true
  }

  private mutating func submitHere(_ number: UInt64, now: BudgetTime) -> Acquisition? {
    guard let waiting = pending[number],
      let submission = books[waiting.key]?.local.budget.submit(waiting.request, now: now)
    else { return nil }
    switch submission {
    case .queued, .alreadyQueued: return nil
    case .alreadyGranted(let grant): return admit(number, grant, isShared: false).map { .admitted($0) }
    case .refused(let refusal):
      pending[number] = nil
      return .failed(.refused(refusal))
    }
  }

  /// Books a grant; nil: nobody waits for it now.
  mutating func admit(_ number: UInt64, _ grant: Grant, isShared: Bool) -> Admission? {
    guard let waiting = pending[number] else { return nil }
    live[number] = Live(key: waiting.key, request: waiting.request, isShared: isShared)
    counts.note(isShared: isShared)
    guard !waiting.isUnattended else {
      pending[number]?.early = grant
      return nil
    }
    pending[number] = nil
    return Admission(group: waiting.key, grant: grant)
  }

  /// Takes a request back; whether it waited.
  package mutating func cancel(_ number: UInt64, now: BudgetTime) -> Bool {
    guard let waiting = pending[number], waiting.early == nil else { return false }
    pending[number] = nil
    _ = books[waiting.key]?.local.budget.cancel(waiting.request.id, now: now)
    if let place = outgoing.requests.firstIndex(where: { $0.request.id.number == number }) {
      outgoing.requests.remove(at: place)
    } else if waiting.wasSent {
      outgoing.cancellations.append(NumberNote(group: waiting.key, number: number))
    }
    return true
  }

  /// Notes what a grant has used.
  ///
  /// The end, and the input once it is known, are told at once; output so far at most once a second, since a worker
  /// reports it with each event of each stream.
  @discardableResult
  package mutating func settle(_ admission: Admission, usage: Usage, isFinal: Bool, now: BudgetTime) -> Urgency {
    let number = admission.grant.id.number
    books[admission.group]?.local.budget.settle(admission.grant.id, usage: usage, isFinal: isFinal, now: now)
    guard let grant = live[number] else { return .none }
    if isFinal { live[number] = nil }
    guard grant.isShared || grant.isAnnounced else { return isFinal ? .wake : .none }
    let note = SettlementNote(group: grant.key, number: number, kind: isFinal ? .final : .progress, usage: usage)
    if isFinal || (usage.input != nil && !grant.isInputTold) {
      if !isFinal { live[number]?.isInputTold = true }
      progress[number] = nil
      append(note)
      return .send
    }
    let isFirst = progress.isEmpty
    progress[number] = note
    return isFirst ? .wake : .none
  }

  /// Gives a grant back that caused no charge.
  package mutating func release(_ admission: Admission, now: BudgetTime) {
    let number = admission.grant.id.number
    books[admission.group]?.local.budget.release(admission.grant.id, now: now)
    guard let grant = live.removeValue(forKey: number), grant.isShared || grant.isAnnounced else { return }
    progress[number] = nil
    append(SettlementNote(group: grant.key, number: number, kind: .released))
  }

  private mutating func append(_ note: SettlementNote) {
    if outgoing.settlements.count >= Self.keptSettlements {
      // The coordinator has been gone for long: what it doesn't hear of expires there.
      outgoing.settlements.removeFirst(Self.keptSettlements / 2)
    }
    outgoing.settlements.append(note)
  }

  /// Notes the headers of a response.
  package mutating func observe(_ headers: RateHeaders, of admission: Admission, now: BudgetTime) {
    guard !isConnected else {
      if outgoing.observations.count < ProtocolLimits.entries {
        outgoing.observations.append((admission.group, headers))
      }
      return
    }
    // Alone, what remains says nothing: the use of the other workers of the fleet looks like use by strangers.
    var limits = headers
    limits.readings = headers.readings.map { RateHeaders.Reading(limit: $0.limit) }
    books[admission.group]?.local.budget.observe(limits, now: now)
  }

  /// Notes that upstream refused a granted request; nil: the coordinator's answer comes as a resolution.
  package mutating func reject(
    _ admission: Admission, verdict: UpstreamVerdict, headers: RateHeaders, now: BudgetTime
  ) -> RejectionDecision? {
    let number = admission.grant.id.number
    guard verdict != .settled, let grant = live[number] else {
      release(admission, now: now)
      return .unknown
    }
    let note = Rejected(key: grant.key, request: grant.request, verdict: verdict, headers: headers)
    guard isConnected, grant.isShared else { return rejectHere(number, note, now: now) }
    rejected[number] = note
    outgoing.rejections.append(
      RejectionNote(group: grant.key, number: number, verdict: verdict, headers: headers))
    return nil
  }

  mutating func rejectHere(_ number: UInt64, _ note: Rejected, now: BudgetTime) -> RejectionDecision {
    progress[number] = nil
    if let grant = live.removeValue(forKey: number), grant.isShared || grant.isAnnounced {
      append(SettlementNote(group: note.key, number: number, kind: .released))
    }
    guard !isConnected else {
      // The coordinator never heard of this grant: it hears of upstream's word, and is asked anew.
      _ = books[note.key]?.local.budget.release(note.request.id, now: now)
      outgoing.rejections.append(
        RejectionNote(group: note.key, number: number, verdict: note.verdict, headers: note.headers))
      hold(Pending(key: note.key, request: note.request, since: now, isUnattended: true))
      send(number)
      return .requeued(notBefore: now)
    }
    var generator = generator
    let decision = books[note.key]?.local.budget.reject(
      note.request.id, verdict: note.verdict, headers: note.headers, now: now, using: &generator)
    self.generator = generator
    if case .requeued = decision {
      hold(Pending(key: note.key, request: note.request, since: now, isUnattended: true))
    }
    return decision ?? .unknown
  }

  /// Tells what the worker does.
  package mutating func report(_ activity: WorkerActivity) {
    guard self.activity != activity else { return }
    self.activity = activity
    outgoing.activity = activity
  }

  /// Answers an order to drain.
  package mutating func answer(_ answer: DrainAnswer) {
    outgoing.drainAnswers.removeAll { $0.order == answer.order }
    if outgoing.drainAnswers.count >= ProtocolLimits.drains { outgoing.drainAnswers.removeFirst() }
    outgoing.drainAnswers.append(answer)
  }

  /// Says goodbye: the worker ends, and its share is free at once.
  package mutating func leave() {
    isLeaving = true
    outgoing.isGoodbye = true
  }

  // MARK: The coordinator's side

  /// The hello of a new stream.
  package mutating func hello(now: BudgetTime) -> WorkerHello {
    var groups: [GroupMemory] = []
    for key in books.keys.sorted() {
      guard let book = books[key] else { continue }
      let outstanding = book.local.budget.outstanding(now: now)
      // Of a group in which nothing has happened there is nothing to say; it may not even be one of the coordinator's.
      guard book.wasTold || !outstanding.isEmpty else { continue }
      for grant in outstanding { live[grant.request.id.number]?.isAnnounced = true }
      groups.append(
        GroupMemory(
          key: key, share: book.wasTold ? book.local.share : nil, outstanding: outstanding,
          used: book.local.usedLately(now: now)))
    }
    return WorkerHello(
      identity: identity, capabilities: configuration.capabilities, groups: groups, activity: activity)
  }

  /// Takes in a welcome: the coordinator grants from now on, also what waited here.
  package mutating func welcomed(_ welcome: CoordinatorWelcome, now: BudgetTime) {
    isConnected = true
    counts.welcomes += 1
    coordinator = welcome.coordinator
    lease = welcome.lease
    heardAt = now
    // What an earlier coordinator has configured, and this one hasn't, is over.
    configured = welcome.groups
    for group in welcome.groups { apply(group, now: now) }
    for number in pending.keys.sorted() { _ = regroup(number, now: now) }
    for key in books.keys.sorted() { _ = books[key]?.local.connect(now: now) }
    for number in live.keys where live[number]?.isAnnounced == true {
      live[number]?.isShared = true
      live[number]?.isAnnounced = false
    }
    outgoing.requests = []
    for number in pending.keys.sorted() where pending[number]?.early == nil { send(number) }
  }

  /// Follows a changed group. What waits for a model that belongs to it now waits there.
  mutating func configure(_ group: GroupConfiguration, now: BudgetTime) {
    let place = configured.firstIndex {
      $0.modelGroup == group.modelGroup && $0.organization == group.organization && $0.workspace == group.workspace
    }
    if let place { configured[place] = group } else { configured.append(group) }
    apply(group, now: now)
    for number in pending.keys.sorted() where regroup(number, now: now) { send(number) }
  }

  /// Moves a request that waits in a group that nobody has configured to the one that its model belongs to.
  private mutating func regroup(_ number: UInt64, now: BudgetTime) -> Bool {
    guard let waiting = pending[number], waiting.early == nil else { return false }
    let key = home(of: waiting.request, in: waiting.key)
    guard key != waiting.key, open(key, now: now), cancel(number, now: now) else { return false }
    hold(Pending(key: key, request: waiting.request, since: waiting.since, isUnattended: waiting.isUnattended))
    return true
  }

  /// Where a request belongs that was meant for a group: that one, unless nobody has configured it.
  private func home(of request: GrantRequest, in key: GroupKey) -> GroupKey {
    let isKnown = configured.isEmpty || configured.contains { $0.covers(key) }
    return isKnown ? key : plan.group(model: request.model, speed: key.speed)
  }

  private mutating func apply(_ group: GroupConfiguration, now: BudgetTime) {
    for key in books.keys.sorted() where group.covers(key) {
      books[key]?.local.budget.configure(group.budget, now: now)
    }
  }

  /// Notes that the stream is gone: the worker goes on at its share.
  package mutating func lost(now: BudgetTime) -> [Resolution] {
    for number in live.keys { live[number]?.isAnnounced = false }
    guard isConnected else { return endPatience(now: now) }
    isConnected = false
    outgoing.requests = []
    outgoing.rejections = []
    outgoing.observations = []
    outgoing.activity = activity
    for key in books.keys.sorted() { books[key]?.local.lose(now: now) }
    var resolutions = submitWaitingHere(now: now)
    for number in rejected.keys.sorted() {
      guard let note = rejected.removeValue(forKey: number) else { continue }
      resolutions.append(.answered(number, rejectHere(number, note, now: now)))
    }
    return resolutions + grantHere(now: now)
  }

  private mutating func submitWaitingHere(now: BudgetTime) -> [Resolution] {
    var resolutions: [Resolution] = []
    for number in pending.keys.sorted() where pending[number]?.early == nil {
      switch submitHere(number, now: now) {
      case .admitted(let admission): resolutions.append(.admitted(number, admission))
      case .failed(let error): resolutions.append(.failed(number, error))
      case .waiting, nil: break
      }
    }
    return resolutions
  }

  /// There is no coordinator yet: what has waited for its first word goes on at the worker's share.
  private mutating func endPatience(now: BudgetTime) -> [Resolution] {
    guard coordinator == nil, let until = patientUntil, until > .zero else { return [] }
    patientUntil = .zero
    return submitWaitingHere(now: now) + grantHere(now: now)
  }

  /// Notes that the coordinator was heard of.
  mutating func heard(lease: Duration?, now: BudgetTime) {
    heardAt = now
    if let lease, lease > .zero { self.lease = lease }
  }

  /// Whether the coordinator has been silent for a lease: the stream is to be given up.
  package func isSilent(at now: BudgetTime) -> Bool { isConnected && now - heardAt >= lease }

  /// The budgets as this worker sees them, by key.
  package mutating func reports(now: BudgetTime) -> [(key: GroupKey, report: GroupReport)] {
    var reports: [(key: GroupKey, report: GroupReport)] = []
    for key in books.keys.sorted() {
      if let report = books[key]?.local.budget.report(now: now) { reports.append((key, report)) }
    }
    return reports
  }

  /// What is to be said now, in a frame of at most a message; nil: nothing, or nobody is there to hear it.
  package mutating func takeOutgoing(now: BudgetTime) -> WorkerFrame? {
    guard isConnected else { return nil }
    if isProgressDue(at: now) {
      for number in progress.keys.sorted() { if let note = progress[number] { append(note) } }
      progress = [:]
      progressDue = now + Self.progressEvery
    }
    return outgoing.isEmpty ? nil : outgoing.takePart()
  }

  /// Whether it is time to tell the output of running streams.
  package func isProgressDue(at now: BudgetTime) -> Bool { isConnected && !progress.isEmpty && now >= progressDue }

  // MARK: Time

  /// Grants what fits when alone, and gives up what is overdue.
  package mutating func advance(now: BudgetTime) -> [Resolution] {
    var resolutions: [Resolution] = []
    if let patientUntil, patientUntil <= now { resolutions += endPatience(now: now) }
    if !isConnected { resolutions += grantHere(now: now) }
    if let overdueAt, overdueAt <= now { giveUp(now: now, into: &resolutions) }
    return resolutions
  }

  private mutating func giveUp(now: BudgetTime, into resolutions: inout [Resolution]) {
    for number in pending.keys.sorted() {
      guard let waiting = pending[number], waiting.request.deadline + Self.grace <= now else { continue }
      if let grant = waiting.early {
        // Its client has gone without asking again.
        pending[number] = nil
        release(Admission(group: waiting.key, grant: grant), now: now)
      } else if cancel(number, now: now), !waiting.isUnattended {
        resolutions.append(.failed(number, .deadlineExceeded(waited: now - waiting.since)))
      }
    }
    overdueAt = pending.values.map { $0.request.deadline + Self.grace }.min()
  }

  private mutating func grantHere(now: BudgetTime) -> [Resolution] {
    var resolutions: [Resolution] = []
    for key in books.keys.sorted() {
      for outcome in books[key]?.local.advance(now: now) ?? [] {
        let number = outcome.id.number
        switch outcome {
        case .granted(let grant):
          if let admission = admit(number, grant, isShared: false) { resolutions.append(.admitted(number, admission)) }
        case .expired:
          if let error = finish(number, nil, now: now) { resolutions.append(error) }
        case .refused(_, let refusal):
          if let error = finish(number, refusal, now: now) { resolutions.append(error) }
        }
      }
    }
    return resolutions
  }

  /// Ends a request without a grant; nil refusal: its deadline has passed.
  mutating func finish(_ number: UInt64, _ refusal: Refusal?, now: BudgetTime) -> Resolution? {
    guard let waiting = pending.removeValue(forKey: number), !waiting.isUnattended else { return nil }
    return .failed(number, refusal.map { .refused($0) } ?? .deadlineExceeded(waited: now - waiting.since))
  }

  /// When `advance` or `isSilent` has something to say next; nil: never.
  package mutating func nextDeadline(now: BudgetTime) -> BudgetTime? {
    var next = overdueAt
    if isConnected {
      next = min(next ?? heardAt + lease, heardAt + lease)
      if !progress.isEmpty { next = min(next ?? progressDue, progressDue) }
    } else {
      if coordinator == nil, let patientUntil, patientUntil > .zero { next = min(next ?? patientUntil, patientUntil) }
      for key in books.keys {
        guard let deadline = books[key]?.local.budget.nextDeadline(now: now) else { continue }
        next = min(next ?? deadline, deadline)
      }
    }
    return next
  }
}

/// What a link has counted since it was made.
package struct LinkCounts: Hashable, Sendable {
  /// How often a coordinator said welcome.
  package var welcomes: Int64 = 0
  /// Requests that a coordinator admitted.
  package var byCoordinator: Int64 = 0
  /// Requests that the worker's own share admitted.
  package var byShare: Int64 = 0

  /// Nothing counted.
  package init() {}

  mutating func note(isShared: Bool) {
    if isShared { byCoordinator += 1 } else { byShare += 1 }
  }
}

extension BudgetPlan {
  /// The plan that a coordinator's groups make.
  init(groups: [GroupConfiguration], fallback: BudgetConfiguration) {
    self.init(
      groups.map {
        Entry(
          name: $0.modelGroup, models: $0.models.map { ModelPattern($0) }, configuration: $0.budget,
          organization: $0.organization, workspace: $0.workspace)
      }, fallback: fallback)
  }
}
