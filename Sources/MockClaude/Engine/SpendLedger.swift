/// What has been spent in this calendar month, in nano-dollars.
struct SpendLedger: Sendable {
  private struct WorkspaceKey: Hashable {
    var organization, workspace: String
  }

  private var organizations: [String: Int64] = [:]
  private var workspaces: [WorkspaceKey: Int64] = [:]
  private var monthEnds: MockTime
  private var before: Int64

  /// A ledger with so many dollars spent before by each organisation.
  init(alreadySpent: Double, now: MockTime) {
    before = Int64(alreadySpent * 1e9)
    monthEnds = now.startOfNextMonth
  }

  /// When access is regained.
  var regained: MockTime { monthEnds }

  /// Starts a new month if one has begun.
  mutating func advance(to now: MockTime) {
    guard now >= monthEnds else { return }
    monthEnds = now.startOfNextMonth
    before = 0
    organizations = [:]
    workspaces = [:]
  }

  /// Adds the price of some usage.
  mutating func charge(_ usage: TokenUsage, price: ModelGroup.Price, account: Account) {
    let input =
      price.input
      * Int64(
        usage.inputTokens * 100 + usage.cacheCreation5m * 125 + usage.cacheCreation1h * 200 + usage.cacheReadTokens * 10
      )
      / 100
    let cost = input + price.output * Int64(usage.outputTokens)
    organizations[account.organization, default: 0] += cost
    workspaces[WorkspaceKey(organization: account.organization, workspace: account.workspace), default: 0] += cost
  }

  /// Spent by an organisation this month, in nano-dollars.
  func spent(by organization: String) -> Int64 { before + organizations[organization, default: 0] }

  /// Spent by a workspace this month, in nano-dollars.
  func spent(by account: Account) -> Int64 {
    workspaces[WorkspaceKey(organization: account.organization, workspace: account.workspace), default: 0]
  }

  /// The refusal of an account that has reached a cap, if it has.
  func refusal(for account: Account, limits: SpendLimits, now: MockTime) -> APIError? {
    func reached(_ cap: Double?, _ spent: Int64) -> Bool { cap.map { spent >= Int64($0 * 1e9) } ?? false }
    let regain = "You will regain access on \(regained.rfc3339.prefix(10)) at 00:00 UTC."
    if reached(limits.organizationCap, spent(by: account.organization)) {
      return APIError(
        429, "rate_limit_error",
        "You have reached your API usage limits: your organization has crossed its monthly API usage threshold. \(regain)",
        code: "enforced_spend_limit_reached")
    }
    if reached(limits.ownLimit, spent(by: account.organization)) {
      return .invalid("You have reached your specified API usage limits. \(regain)")
    }
    guard reached(limits.workspaceLimit, spent(by: account)) else { return nil }
    guard account.kind == .claudeCode else {
      return .invalid("You have reached your specified workspace API usage limits. \(regain)")
    }
    let seconds = (regained - now).wholeNanoseconds / 1_000_000_000 + 1
    return APIError(
      429, "rate_limit_error", "Your Claude Code workspace has reached its spend limit. \(regain)",
      retryAfter: Int(seconds))
  }
}
