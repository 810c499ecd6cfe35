import FoundationEssentials

/// Payloads of each class, in the forms in which they travel; their prose and code come from a folder that the dictionary
/// has never seen, and so do their names and numbers.
struct PayloadSource {
  struct CorpusError: Error, CustomStringConvertible {
    let description: String
  }

  private var random: Seeded
  private let files: [(name: String, lines: [String])]
  private let prose: [String]

  init(corpus: String, seed: UInt64) throws {
    random = Seeded(state: seed)
    let names = try FileManager.default.contentsOfDirectory(atPath: corpus).filter { $0.hasSuffix(".py") }.sorted()
    var (files, prose) = ([(name: String, lines: [String])](), [String]())
    for name in names.prefix(150) {
      guard let data = FileManager.default.contents(atPath: corpus + "/" + name) else { continue }
      let lines = String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        .map(String.init)
      guard lines.count > 40 else { continue }
      files.append(("lib/\(name)", lines))
      prose += Self.documentation(lines)
    }
    guard files.count > 10, prose.count > 100 else {
      throw CorpusError(description: "\(corpus) has too few Python sources; name Python's own library")
    }
    (self.files, self.prose) = (files, prose)
  }

  /// What stands between triple quotes, a paragraph each.
  private static func documentation(_ lines: [String]) -> [String] {
    var (isInside, paragraph, result) = (false, [String](), [String]())
    for line in lines {
      let text = line.trimmed
      let quotes = text.split(separator: "\"\"\"", omittingEmptySubsequences: false).count - 1
      if isInside || quotes > 0 {
        let words = text.filter { $0 != "\"" }
        if words.isEmpty || quotes > 0 {
          let joined = (paragraph + [words]).joined(separator: " ").trimmed
          if joined.count > 100 { result.append(joined) }
          paragraph = []
        } else {
          paragraph.append(words)
        }
      }
      if quotes % 2 == 1 { isInside.toggle() }
    }
    return result
  }

  // MARK: Classes

  mutating func heartbeat() -> [UInt8] {
    let total = [8, 16, 24, 32, 64][random.below(5)]
    let busy = random.below(total + 1)
    let tasks = (0..<random.below(4)).map { _ in
      #"{"id":"\#(task_())","epoch":\#(number(3)),"step":\#(number(6))}"#
    }
    return bytes(
      #"{"type":"heartbeat","pod":"\#(pod())","incarnation":"\#(hex(16))","epoch":\#(number(8)),"sequence":\#(number(20)),"#
        + #""sentAt":"\#(time())","uptimeSeconds":\#(number(20)),"slots":{"total":\#(total),"busy":\#(busy),"idle":\#(total - busy),"draining":0},"#
        + #""waiting":{"critical":\#(number(2)),"high":\#(number(4)),"normal":\#(number(6)),"bulk":\#(number(7))},"#
        + #""budget":{"group":"\#(model())","requestsPerMinute":\#(number(9)),"inputTokensPerMinute":\#(number(21)),"outputTokensPerMinute":\#(number(18)),"waiting":\#(number(3))},"#
        + #""memory":{"residentBytes":\#(number(30)),"pooledBytes":\#(number(25))},"cpuMillicores":\#(number(11)),"tasks":[\#(tasks.joined(separator: ","))]}"#
    )
  }

  mutating func task() -> [UInt8] {
    let names = (0..<1 + random.below(5)).map { _ in quoted(files[random.below(files.count)].name) }
    return bytes(
      #"{"id":"\#(task_())","key":{"name":"\#(word())#\#(number(14))","generation":\#(number(2))},"lane":"\#(lane())","kind":"\#(kind())","#
        + #""tenant":"team-\#(word())","attempt":1,"maximumAttempts":5,"submittedAt":"\#(time())","notBefore":null,"deadline":"\#(time())","leaseSeconds":30,"#
        + #""payload":{"model":"\#(model())","max_tokens":\#([2_048, 8_192, 32_000][random.below(3)]),"system":"\#(quotedText(80, 160))","#
        + #""messages":[{"role":"user","content":"\#(quotedText(500, 2_000))"}],"repository":"https://github.com/\#(word())/\#(word())","#
        + #""commit":"\#(hex(40))","files":[\#(names.joined(separator: ","))],"tools":["Read","Bash","Grep","Edit"]}}"#)
  }

  mutating func toolCall() -> [UInt8] {
    let (content, result) = toolUse()
    return bytes(
      #"{"task":"\#(task_())","epoch":\#(number(3)),"step":\#(number(6)),"agent":"agent-\#(number(10))","message":{"id":"\#(identity("msg_01"))","#
        + #""type":"message","role":"assistant","model":"\#(model())","content":[\#(content)],"stop_reason":"tool_use","stop_sequence":null,"usage":\#(usage())},"#
        + #""result":\#(result),"durationMilliseconds":\#(number(13))}"#)
  }

  mutating func result() -> [UInt8] {
    let (name, lines, start) = excerpt(40, 150)
    var diff = ["--- a/\(name)", "+++ b/\(name)", "@@ -\(start),\(lines.count) +\(start),\(lines.count) @@"]
    for line in lines {
      switch random.below(12) {
      case 0: diff.append("-" + line)
      case 1: diff += ["-" + line, "+" + line.replacing("self", with: "this")]
      case 2: diff += [" " + line, "+" + files[random.below(files.count)].lines[random.below(40)]]
      default: diff.append(" " + line)
      }
    }
    return bytes(
      #"{"task":"\#(task_())","epoch":\#(number(3)),"outcome":"completed","finishedAt":"\#(time())","steps":\#(number(6)),"model":"\#(model())","#
        + #""usage":\#(usage()),"costMicroUSD":\#(number(22)),"summary":"\#(quotedText(300, 1_500))","#
        + #""artifacts":[{"path":\#(quoted(name)),"sha256":"\#(hex(64))","bytes":\#(number(16))}],"diff":\#(quoted(diff.joined(separator: "\n")))}"#
    )
  }

  /// An agent's states: each has the messages of the one before and those of one more step.
  mutating func states(_ count: Int, reaching goal: Int) -> [[UInt8]] {
    var messages = [#"{"role":"user","content":[{"type":"text","text":"\#(quotedText(500, 2_000))"}]}"#]
    var journal: [String] = []
    let (task, parent, agent) = (task_(), hex(64), pod())
    var states: [[UInt8]] = []
    while states.count < count {
      let (content, result) = toolUse()
      let thinking =
        #"{"type":"thinking","thinking":"\#(quotedText(80, 400))","signature":"\#(base64(200 + random.below(200)))"}"#
      messages += [
        #"{"role":"assistant","content":[\#(thinking),\#(content)]}"#, #"{"role":"user","content":[\#(result)]}"#,
      ]
      journal.append(#"{"step":\#(journal.count),"request":"\#(hex(64))","state":"answered"}"#)
      let state = bytes(
        #"{"task":"\#(task)","epoch":3,"step":\#(journal.count),"parent":"\#(parent)","agent":"\#(agent)","savedAt":"\#(time())","usage":\#(usage()),"#
          + #""messages":[\#(messages.joined(separator: ","))],"journal":[\#(journal.joined(separator: ","))]}"#)
      if state.count >= goal || !states.isEmpty { states.append(state) }
    }
    return states
  }

  /// JSON of another program, with no field in common with any of ours.
  mutating func foreign() -> [UInt8] {
    let rows = (0..<20).map { _ in
      #"{"ARTIKEL":"\#(word())-\#(number(10))","MENGE":\#(number(9)),"PREIS":\#(number(14)),"LAGER":"\#(hex(4))"}"#
    }
    return bytes(
      #"{"BESTELLUNG":\#(number(20)),"POSITIONEN":[\#(rows.joined(separator: ","))],"NOTIZ":"\#(quotedText(200, 600))"}"#
    )
  }

  // MARK: Parts

  private mutating func toolUse() -> (content: String, result: String) {
    let (name, lines, start) = excerpt(20, 90)
    let call = identity("toolu_01")
    let tool = ["Read", "Bash", "Grep", "Edit"][random.below(4)]
    let input =
      switch tool {
      case "Read": #"{"file_path":\#(quoted("/workspace/" + name)),"offset":\#(start),"limit":\#(lines.count)}"#
      case "Bash":
        #"{"command":"python3 -m pytest -q \#(name) -k \#(word())","timeout":120000,"description":"\#(quotedText(20, 60))"}"#
      case "Grep":
        #"{"pattern":\#(quoted(String(lines[0].trimmed.prefix(30)))),"path":"/workspace","output_mode":"content","-n":true}"#
      default:
        #"{"file_path":\#(quoted("/workspace/" + name)),"old_string":\#(quoted(lines.prefix(4).joined(separator: "\n"))),"new_string":\#(quoted(lines.prefix(6).joined(separator: "\n"))),"replace_all":false}"#
      }
    let numbered = lines.enumerated().map { offset, line in "\(start + offset)→\(line)" }
    let shown = (tool == "Read" ? numbered : lines).joined(separator: "\n")
    return (
      #"{"type":"text","text":"\#(quotedText(60, 400))"},{"type":"tool_use","id":"\#(call)","name":"\#(tool)","input":\#(input)}"#,
      #"{"type":"tool_result","tool_use_id":"\#(call)","content":\#(quoted(shown)),"is_error":false}"#
    )
  }

  private mutating func excerpt(_ low: Int, _ high: Int) -> (name: String, lines: [String], start: Int) {
    let file = files[random.below(files.count)]
    let count = low + random.below(high - low)
    let start = random.below(max(1, file.lines.count - count))
    return (file.name, Array(file.lines[start..<min(file.lines.count, start + count)]), start + 1)
  }

  private mutating func quotedText(_ low: Int, _ high: Int) -> String {
    let goal = low + random.below(high - low)
    var text = ""
    while text.count < goal { text += prose[random.below(prose.count)] + " " }
    return Self.escaped(String(text.prefix(goal)))
  }

  private mutating func usage() -> String {
    #"{"input_tokens":\#(number(12)),"cache_creation_input_tokens":\#(number(14)),"cache_read_input_tokens":\#(number(17)),"output_tokens":\#(number(11)),"service_tier":"standard"}"#
  }

  private mutating func word() -> String {
    ["forum", "stock", "trips", "loans", "books", "games", "music", "video", "panel", "route"][random.below(10)]
  }
  private mutating func kind() -> String { ["audit", "migrate", "port", "explain", "fix"][random.below(5)] }
  private mutating func lane() -> String { ["critical", "high", "normal", "bulk"][random.below(4)] }
  private mutating func model() -> String {
    ["claude-sonnet-4-5", "claude-opus-4-1", "claude-haiku-4-5", "claude-sonnet-5"][random.below(4)]
  }
  private mutating func pod() -> String { "\(word())-\(kind())-\(letters(9))-\(letters(5))" }
  private mutating func task_() -> String { "\(word())-\(kind())-\(hex(4))-\(number(20))" }
  private mutating func number(_ bits: Int) -> Int { Int(random.next() >> UInt64(64 - 1 - random.below(bits))) }
  private mutating func hex(_ count: Int) -> String { some(count, Array("0123456789abcdef")) }
  private mutating func letters(_ count: Int) -> String { some(count, Array("bcdfghjklmnpqrstvwxz2456789")) }
  private mutating func base64(_ count: Int) -> String {
    some(count, Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
  }
  private mutating func identity(_ prefix: String) -> String {
    prefix + some(22, Array("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789"))
  }
  private mutating func some(_ count: Int, _ alphabet: [Character]) -> String {
    String((0..<count).map { _ in alphabet[random.below(alphabet.count)] })
  }
  private mutating func time() -> String {
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return
      "2027-\(two(1 + random.below(12)))-\(two(1 + random.below(28)))T\(two(random.below(24))):\(two(random.below(60))):\(two(random.below(60))).\(100 + random.below(900))Z"
  }

  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
  private func quoted(_ text: String) -> String { "\"" + Self.escaped(text) + "\"" }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      default: result.unicodeScalars.append(scalar.value < 32 ? " " : scalar)
      }
    }
    return result
  }
}

/// Seeded numbers.
struct Seeded {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }
}

extension String {
  fileprivate var trimmed: String {
    let head = drop { $0.isWhitespace }
    return String(head.reversed().drop { $0.isWhitespace }.reversed())
  }
}
