import KubernetesCore
import Testing

@testable import MetricBridges

struct BridgeBookTests {
  private let at = Timestamp(secondsSinceEpoch: 1_800_000_000)
  private let web = ObjectKey(namespace: "fleet", name: "web")
  private let claude = ObjectKey(namespace: "fleet", name: "claude")

  private func moment(_ seconds: Int) -> MonotonicTime { MonotonicTime(sinceOrigin: .seconds(seconds)) }

  private func book() -> BridgeBook {
    var book = BridgeBook(hasBudgets: true)
    book.begin()
    book.decided(web, replicas: 7, at: at, period: .seconds(15), now: moment(0))
    book.decided(ObjectKey(namespace: "fleet", name: "api"), replicas: 3, at: at, period: .seconds(15), now: moment(0))
    book.decided(ObjectKey(namespace: "other", name: "web"), replicas: 99, at: at, period: .seconds(15), now: moment(0))
    return book
  }

  private func desired(
    _ book: BridgeBook, _ selector: String, at seconds: Int = 1, in namespace: String = "fleet",
    autoscalers: [String] = ["web", "api"]
  ) throws -> BridgeBook.Answer {
    book.answer(
      .desiredReplicas, namespace: namespace, selector: try Selector(selector), autoscalers: autoscalers,
      now: moment(seconds))
  }

  private func values(_ answer: BridgeBook.Answer) throws -> [String: Int64] {
    guard case .values(let values) = answer else {
      Issue.record("no values: \(answer)")
      return [:]
    }
    return Dictionary(
      values.map {
        (($0.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }).joined(separator: ","), $0.value)
      }
    ) { $1 }
  }

  private func why(_ answer: BridgeBook.Answer) -> String {
    if case .unavailable(let why) = answer { why } else { "known: \(answer)" }
  }

  @Test(
    "A selector picks the autoscalers of its namespace by name",
    arguments: [
      ("autoscaler=web", ["autoscaler=web": 7]), ("", ["autoscaler=web": 7, "autoscaler=api": 3]),
      ("autoscaler in (web,gone)", ["autoscaler=web": 7]), ("autoscaler!=web", ["autoscaler=api": 3]),
      ("autoscaler=gone", [:]), ("autoscaler=web,team=x", [:]), ("!autoscaler", [:]),
    ] as [(String, [String: Int64])])
  func selectors(selector: String, expected: [String: Int64]) throws {
    #expect(try values(desired(book(), selector)) == expected)
  }

  @Test("Another namespace's autoscaler of the same name has its own number")
  func namespaces() throws {
    #expect(try values(desired(book(), "autoscaler=web", in: "other", autoscalers: ["web"])) == ["autoscaler=web": 99])
  }

  @Test("A decision counts for three periods, and for ten seconds at least", arguments: [(15, 45), (60, 180), (1, 10)])
  func staleness(period: Int, lifetime: Int) throws {
    var book = book()
    book.decided(web, replicas: 8, at: at, period: .seconds(period), now: moment(100))
    #expect(try values(desired(book, "autoscaler=web", at: 100 + lifetime - 1)) == ["autoscaler=web": 8])
    #expect(why(try desired(book, "autoscaler=web", at: 100 + lifetime)).contains("too old"))
  }

  @Test("What isn't known makes the whole answer unavailable, never a part of it")
  func partial() throws {
    var book = book()
    #expect(why(try desired(book, "", autoscalers: ["web", "api", "new"])).contains("nothing is decided yet"))
    book.failed(web, why: "the scale can't be read")
    #expect(why(try desired(book, "")).contains("web: the scale can't be read"))
    #expect(try values(desired(book, "autoscaler=api")) == ["autoscaler=api": 3])
    book.decided(web, replicas: 6, at: at, period: .seconds(15), now: moment(1))
    #expect(try values(desired(book, "autoscaler=web")) == ["autoscaler=web": 6])
  }

  @Test("An autoscaler that is gone has no series, and one that comes back no old number")
  func forgotten() throws {
    var book = book()
    book.forget(web)
    #expect(try values(desired(book, "autoscaler=web", autoscalers: ["api"])) == [:])
    #expect(why(try desired(book, "autoscaler=web")).contains("nothing is decided yet"))
  }

  @Test("Who doesn't lead knows nothing, and who leads again begins anew")
  func leadership() throws {
    var book = BridgeBook(hasBudgets: true)
    book.decided(web, replicas: 7, at: at, period: .seconds(15), now: moment(0))
    #expect(why(try desired(book, "autoscaler=web")).contains("doesn't lead"))
    book = self.book()
    book.end()
    #expect(why(try desired(book, "autoscaler=web")).contains("doesn't lead"))
    book.begin()
    #expect(why(try desired(book, "autoscaler=web")).contains("nothing is decided yet"))
  }

  // MARK: Headroom

  private func headroom(_ book: BridgeBook, _ selector: String, at seconds: Int = 1) throws -> BridgeBook.Answer {
    book.answer(
      .apiHeadroom, namespace: "fleet", selector: try Selector(selector), autoscalers: [], now: moment(seconds))
  }

  @Test(
    "Headroom is what the target leaves of the limit, and never negative",
    arguments: [
      (1_000, 90, 400, 100, 400), (1_000, 90, 900, 1, 0), (1_000, 0, 0, 0, 0), (999, 50, 0, 0, 499),
      (Int64.max, 95, Int64.max, Int64.max, 0), (-5, 90, -5, -5, 0),
    ] as [(Int64, Int64, Int64, Int64, Int64)])
  func headroomValue(limit: Int64, target: Int64, offered: Int64, foreign: Int64, units: Int64) {
    #expect(
      HeadroomReading(dimension: "requests", limit: limit, targetPercent: target, offered: offered, foreign: foreign)
        .units == units)
  }

  private func bookOfBudgets() -> BridgeBook {
    var book = book()
    book.measured(
      [
        claude: (
          [
            HeadroomReading(dimension: "requests", limit: 100, targetPercent: 90, offered: 50, foreign: 0),
            HeadroomReading(exhausted: "outputTokens"),
          ], ""
        ),
        ObjectKey(namespace: "fleet", name: "new"): (nil, "its limits are being learned"),
        ObjectKey(namespace: "other", name: "claude"): ([], ""),
      ], at: at, now: moment(0))
    return book
  }

  @Test(
    "A selector picks dimensions of budgets",
    arguments: [
      ("budget=claude", ["budget=claude,dimension=requests": 40, "budget=claude,dimension=outputTokens": 0]),
      ("budget=claude,dimension=requests", ["budget=claude,dimension=requests": 40]),
      ("budget=claude,dimension=inputTokens", [:]), ("budget=none", [:]), ("autoscaler=web", [:]),
    ] as [(String, [String: Int64])])
  func dimensions(selector: String, expected: [String: Int64]) throws {
    #expect(try values(headroom(bookOfBudgets(), selector)) == expected)
  }

  @Test("A budget that isn't known is unavailable, also when its dimension is asked for alone")
  func unknownBudget() throws {
    for selector in ["budget=new", "budget=new,dimension=requests", "dimension=requests", ""] {
      #expect(why(try headroom(bookOfBudgets(), selector)).contains("being learned"), "\(selector)")
    }
  }

  @Test("A look at the budgets counts for ten seconds; what it doesn't name is gone")
  func headroomStaleness() throws {
    var book = bookOfBudgets()
    #expect(try values(headroom(book, "budget=claude,dimension=requests", at: 9)).count == 1)
    #expect(why(try headroom(book, "budget=claude", at: 10)).contains("too long ago"))
    book.measured([:], at: at, now: moment(10))
    #expect(try values(headroom(book, "budget=claude", at: 10)) == [:])
  }

  @Test("Without a coordinator there is no headroom")
  func noCoordinator() throws {
    var book = BridgeBook(hasBudgets: false)
    book.begin()
    #expect(book.metrics == [.desiredReplicas])
    #expect(why(try headroom(book, "budget=claude")).contains("--coordinator-listen"))
  }
}
