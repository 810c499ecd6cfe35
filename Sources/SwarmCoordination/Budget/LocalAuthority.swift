package import RateBudget
import Synchronization

/// Gives grants within this process: the authority where there is no coordinator.
///
/// `run` must run beside it: it wakes requests when their time has come. All rules are those of `RateBudgets`; this only
/// brings the clock, the waiting tasks and the randomness.
package final class LocalAuthority: BudgetAuthority {
  typealias Answer = Result<Grant, AdmissionError>

  /// A budget for each name that a client invents would be a leak; beyond so many, unknown models share one.
  static let groupLimit = 64

  struct State {
    var budgets = RateBudgets()
    var plan: BudgetPlan
    var generator = SystemRandomNumberGenerator()
    /// The tasks that wait, by the names of their requests.
    var waiters: [GrantID: CheckedContinuation<Answer, Never>] = [:]
    /// Answers whose tasks don't wait yet.
    var ready: [GrantID: Answer] = [:]
    /// Requests that were submitted and aren't answered.
    var submitted: [GrantID: BudgetTime] = [:]
    /// Until when `run` sleeps; nil: until it is woken.
    var sleepsUntil: BudgetTime?
  }

  typealias Delivery = (continuation: CheckedContinuation<Answer, Never>, answer: Answer)

  private let state: Mutex<State>
  private let clock: any CoordinationClock
  private let signal = Signal()

  /// Makes an authority over the budgets of a plan.
  package init(plan: BudgetPlan, clock: any CoordinationClock) {
    state = Mutex(State(plan: plan))
    self.clock = clock
  }

  /// Wakes requests when their time has come, until the task is cancelled.
  package func run() async {
    while !Task.isCancelled {
      let now = clock.now
      let deadline = change { state in
        state.collect(state.budgets.advance(now: now).map(\.outcome), now: now)
        state.sleepsUntil = state.budgets.nextDeadline(now: now)
        return state.sleepsUntil
      }
      guard let deadline else {
        await signal.wait()
        continue
      }
      await withTaskGroup(of: Void.self) { [clock, signal] group in
        group.addTask { try? await clock.sleep(until: deadline) }
        group.addTask { await signal.wait() }
        await group.next()
        group.cancelAll()
      }
    }
  }

  // MARK: BudgetAuthority

  package func group(model: String, speed: String) -> GroupKey {
    state.withLock { $0.plan.group(model: model, speed: speed) }
  }

  package func acquire(_ request: AdmissionRequest) async throws(AdmissionError) -> Admission {
    let (id, now) = (request.grant.id, clock.now)
    let immediate = change { state in
      state.submit(request, wall: clock.wall, now: now)
      return state.ready.removeValue(forKey: id)
    }
    let answer: Answer
    if let immediate { answer = immediate } else { answer = await wait(for: id, in: request.group) }
    return Admission(group: request.group, grant: try answer.get())
  }

  package func settle(_ admission: Admission, usage: Usage, isFinal: Bool) {
    touch(admission.group) { $0.settle(admission.grant.id, usage: usage, isFinal: isFinal, now: $1) }
  }

  package func release(_ admission: Admission) {
    touch(admission.group) { $0.release(admission.grant.id, now: $1) }
  }

  package func observe(_ headers: RateHeaders, of admission: Admission) {
    guard !headers.isEmpty else { return }
    touch(admission.group) { $0.observe(headers, now: $1) }
  }

  package func reject(
    _ admission: Admission, verdict: UpstreamVerdict, headers: RateHeaders
  ) async -> RejectionDecision {
    let (id, now) = (admission.grant.id, clock.now)
    return change { state in
      var generator = state.generator
      let decision = state.budgets.with(admission.group) {
        $0.reject(id, verdict: verdict, headers: headers, now: now, using: &generator)
      }
      if case .requeued? = decision { state.submitted[id] = now }
      state.advance(admission.group, now: now)
      return decision ?? .unknown
    }
  }

  // MARK: Steering and reading

  /// Follows a changed plan. The same one changes nothing, and no reload makes tokens.
  package func configure(_ plan: BudgetPlan) {
    let now = clock.now
    change { state in
      state.plan = plan
      state.budgets.forEach { key, budget in budget.configure(plan.configuration(of: key), now: now) }
      for key in state.budgets.keys { state.advance(key, now: now) }
    }
  }

  /// Ends the pauses that money has caused: somebody has raised the limit.
  package func resume() {
    let now = clock.now
    change { state in
      state.budgets.forEach { _, budget in budget.resume(now: now) }
      for key in state.budgets.keys { state.advance(key, now: now) }
    }
  }

  /// What the budgets look like now, in the order of their keys.
  package func reports() -> [(key: GroupKey, report: GroupReport)] {
    let now = clock.now
    return state.withLock { state in
      var reports: [(key: GroupKey, report: GroupReport)] = []
      state.budgets.forEach { key, budget in reports.append((key, budget.report(now: now))) }
      return reports
    }
  }

  /// Everything charged to a dimension of a budget so far.
  package func totalCharged(_ dimension: Dimension, of key: GroupKey) -> Int64 {
    state.withLock { $0.budgets.with(key) { $0.totalCharged(dimension) } ?? 0 }
  }

  // MARK: Waiting

  private func wait(for id: GrantID, in group: GroupKey) async -> Answer {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let answer: Answer? = state.withLock { state in
          if let answer = state.ready.removeValue(forKey: id) { return answer }
          state.waiters[id] = continuation
          return nil
        }
        if let answer { continuation.resume(returning: answer) }
      }
    } onCancel: {
      let now = clock.now
      change { state in state.withdraw(id, group: group, now: now) }
    }
  }

  private func touch(_ group: GroupKey, _ body: (inout GroupBudget, BudgetTime) -> some Any) {
    let now = clock.now
    change { state in
      _ = state.budgets.with(group) { body(&$0, now) }
      state.advance(group, now: now)
    }
  }

  /// Changes the state, then hands out the answers that came of it and wakes `run` when it would sleep too long.
  private func change<Value>(_ body: (inout State) -> Value) -> Value {
    let now = clock.now
    let (value, deliveries, isEarlier) = state.withLock { state in
      let value = body(&state)
      var deliveries: [Delivery] = []
      if !state.waiters.isEmpty {
        for id in state.ready.keys {
          guard let waiter = state.waiters.removeValue(forKey: id) else { continue }
          if let answer = state.ready.removeValue(forKey: id) { deliveries.append((waiter, answer)) }
        }
      }
      let next = state.budgets.nextDeadline(now: now)
      let isEarlier = next.map { next in state.sleepsUntil.map { next < $0 } ?? true } ?? false
      if isEarlier { state.sleepsUntil = next }
      return (value, deliveries, isEarlier)
    }
    for delivery in deliveries { delivery.continuation.resume(returning: delivery.answer) }
    if isEarlier { signal.set() }
    return value
  }
}

extension LocalAuthority.State {
  /// Puts a request in line and grants what fits.
  mutating func submit(_ request: AdmissionRequest, wall: WallTime, now: BudgetTime) {
    let id = request.grant.id
    // An answer that came between a rejection and this call.
    if ready[id] != nil { return }
    let group = prepare(request.group, wall: wall, now: now)
    let submission = budgets.with(group) { $0.submit(request.grant, now: now) }
    switch submission {
    case .queued:
      submitted[id] = now
      advance(group, now: now)
    case .alreadyQueued: advance(group, now: now)
    case .alreadyGranted(let grant): ready[id] = .success(grant)
    case .refused(let refusal): ready[id] = .failure(.refused(refusal))
    case nil: ready[id] = .failure(.refused(.tooManyClients(limit: LocalAuthority.groupLimit)))
    }
  }

  /// Makes the budget of a key when it is new.
  private mutating func prepare(_ key: GroupKey, wall: WallTime, now: BudgetTime) -> GroupKey {
    if budgets.with(key, { _ in true }) != nil { return key }
    guard budgets.keys.count < LocalAuthority.groupLimit else { return key }
    var budget = GroupBudget(configuration: plan.configuration(of: key), now: now)
    budget.setWallClock(wall, now: now)
    budgets.set(budget, for: key)
    return key
  }

  /// Grants what fits in one budget.
  mutating func advance(_ group: GroupKey, now: BudgetTime) {
    guard let outcomes = budgets.with(group, { $0.waitingCount > 0 ? $0.advance(now: now) : [] }) else { return }
    collect(outcomes, now: now)
  }

  /// Notes what became of requests, for their tasks.
  mutating func collect(_ outcomes: [Outcome], now: BudgetTime) {
    for outcome in outcomes {
      let since = submitted.removeValue(forKey: outcome.id) ?? now
      switch outcome {
      case .granted(let grant): ready[grant.id] = .success(grant)
      case .expired(let id): ready[id] = .failure(.deadlineExceeded(waited: now - since))
      case .refused(let id, let refusal): ready[id] = .failure(.refused(refusal))
      }
    }
  }

  /// Takes a request back whose task was cancelled; a grant that came at the same moment is released.
  mutating func withdraw(_ id: GrantID, group: GroupKey, now: BudgetTime) {
    let isAnswered = submitted.removeValue(forKey: id) == nil
    // Neither: its task has the answer already, and goes on with it.
    if isAnswered && ready[id] == nil { return }
    _ = budgets.with(group) { $0.cancel(id, now: now) }
    if case .success? = ready[id] { budgets.with(group) { _ = $0.release(id, now: now) } }
    ready[id] = .failure(.cancelled)
    advance(group, now: now)
  }
}
