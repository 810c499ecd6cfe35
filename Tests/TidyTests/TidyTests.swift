import Foundation
import Testing

/// Reads the repository as text and holds it to the rules that no compiler knows.
@Suite struct TidyTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// What each target may import besides the standard library. A target that isn't named here fails the test, so
  /// that a new one gets its row.
  private static let allowedImports: [String: Set<String>] = [
    "CCurl": [],
    "CCurlShim": [],
    "CHeap": [],
    "JSON": [],
    "KubernetesCore": ["JSON"],
    "KubernetesProtobuf": ["KubernetesCore", "SwiftProtobuf", "FoundationEssentials", "Foundation"],
    "CLibYAML": [],
    "YAML": ["CLibYAML"],
    "KubernetesYAML": ["KubernetesCore", "YAML"],
    "KubernetesClient": [
      "KubernetesCore", "CCurl", "CCurlShim", "Synchronization", "FoundationEssentials", "Foundation", "Glibc", "Musl",
      "Darwin",
    ],
    "KubernetesConfiguration": [
      "KubernetesCore", "KubernetesClient", "KubernetesYAML", "YAML", "Foundation", "FoundationEssentials",
      "Synchronization", "Glibc",
      "Musl", "Darwin", "Subprocess", "System", "SystemPackage",
    ],
    "KubernetesRuntime": [
      "KubernetesCore", "KubernetesProtobuf", "Logging", "ServiceLifecycle", "Synchronization", "FoundationEssentials",
      "Foundation", "Glibc", "Musl", "Darwin",
    ],
    "ScalingAPI": ["KubernetesCore", "FoundationEssentials", "Foundation"],
    "ScalingDecision": ["KubernetesCore", "ScalingAPI", "FoundationEssentials", "Foundation"],
    "ScalingObservation": ["KubernetesCore", "ScalingDecision"],
    "HPAReference": ["KubernetesCore", "ScalingAPI", "FoundationEssentials", "Foundation"],
    "WorkerEmbedding": ["KubernetesCore", "ScalingAPI"],
    "PriorityQueue": [],
    "RateBudget": ["PriorityQueue"],
    "CoordinationCore": ["PriorityQueue"],
    "CoordinationProtocol": ["RateBudget", "SwiftProtobuf", "Glibc", "Musl", "Darwin"],
    "Coordinator": [
      "CoordinationProtocol", "RateBudget", "GRPCCore", "GRPCNIOTransportHTTP2", "NIOCertificateReloading",
    ],
    "MemoryPool": ["Glibc", "Musl", "Darwin"],
    "MessageFrames": [],
    "CCompressionDictionaries": [],
    "PayloadCompression": ["CCompressionDictionaries", "CZstd", "MemoryPool", "MessageFrames"],
    "AgentMessages": ["CoordinationEngine", "MessageFrames", "PriorityQueue"],
    "TaskRecovery": [
      "CoordinationAPI", "CoordinationCore", "CoordinationEngine", "MessageFrames", "NIOPosix", "PayloadCompression",
      "TaskQueue", "Glibc", "Musl", "Darwin",
    ],
    "CZstd": [],
    "CZlib": [],
    "MockClaude": ["FoundationEssentials", "Foundation"],
    "MockClaudeServer": ["MockClaude", "CZlib", "NIOCore", "NIOHTTP1", "NIOPosix", "Glibc", "Musl", "Darwin"],
    "MockClaudeCommand": [
      "ArgumentParser", "KubernetesCore", "KubernetesYAML", "MockClaude", "MockClaudeServer", "UnixSignals", "YAML",
      "FoundationEssentials", "Foundation",
    ],
    "mock-claude": ["ArgumentParser", "MockClaudeCommand"],
    "AgentRuntime": [
      "CoordinationCore", "CoordinationEngine", "Crypto", "Logging", "Observability", "PayloadCompression",
    ],
    "SwarmCoordination": [
      "AgentMessages", "AgentRuntime", "CoordinationAPI", "CoordinationCore", "CoordinationEngine",
      "CoordinationProtocol", "JSON", "JetStreamEngine", "MessageFrames", "NATSClient", "PayloadCompression",
      "TaskQueue", "TaskRecovery", "GRPCCore", "GRPCNIOTransportHTTP2",
      "Logging", "NIOCore", "NIOHTTP1", "NIOPosix", "NIOSSL", "NIOTLS", "RateBudget", "SwarmOrchestrator",
      "UnixSignals", "Glibc", "Musl", "Darwin",
    ],
    "SidecarServer": [
      "CoordinationAPI", "Logging", "NIOCore", "NIOHTTP1", "NIOPosix", "Observability", "RateBudget",
      "SwarmCoordination",
    ],
    "SidecarCommand": [
      "ArgumentParser", "CoordinationAPI", "Logging", "NIOCore", "NIOPosix", "Observability", "RateBudget",
      "SidecarServer", "SwarmCoordination", "UnixSignals", "YAML", "FoundationEssentials", "Foundation",
    ],
    "swarmscale-sidecar": ["ArgumentParser", "SidecarCommand"],
    "Observability": ["CHeap", "Logging", "Synchronization", "Glibc", "Musl", "Darwin"],
    "ScalingController": [
      "KubernetesCore", "KubernetesProtobuf", "KubernetesRuntime", "ScalingAPI", "ScalingDecision",
      "ScalingObservation", "Observability", "WorkerEmbedding", "Logging", "ServiceLifecycle", "Synchronization",
      "FoundationEssentials",
      "Foundation", "Glibc", "Musl", "Darwin",
    ],
    "StatusPage": ["KubernetesCore", "ScalingDecision", "ScalingObservation"],
    "FleetCertificates": [
      "Crypto", "KubernetesCore", "KubernetesRuntime", "Logging", "NIOCertificateReloading", "NIOSSL",
      "ServiceLifecycle", "SwiftASN1", "Synchronization", "X509", "FoundationEssentials", "Foundation",
    ],
    "AdmissionWebhook": [
      "KubernetesCore", "KubernetesRuntime", "Logging", "ScalingAPI", "ScalingController", "Synchronization",
      "WorkerEmbedding", "FoundationEssentials", "Foundation",
    ],
    "MetricBridges": ["KubernetesCore"],
    "ExternalScaler": [
      "GRPCCore", "GRPCNIOTransportHTTP2", "KubernetesCore", "MetricBridges", "NIOCertificateReloading",
      "ServiceLifecycle", "SwiftProtobuf",
    ],
    "ControllerServer": [
      "Hummingbird", "HummingbirdTLS", "Logging", "NIOCertificateReloading", "NIOCore", "NIOSSL", "ServiceLifecycle",
      "StatusPage",
    ],
    "FleetCoordination": [
      "CoordinationProtocol", "Coordinator", "Crypto", "KubernetesCore", "KubernetesRuntime", "Logging",
      "MetricBridges", "NIOCertificateReloading",
      "Observability", "RateBudget", "ScalingAPI", "ScalingController", "ScalingDecision", "ScalingObservation",
    ],
    "ControllerCommand": [
      "AdmissionWebhook", "ExternalScaler", "FleetCertificates", "MetricBridges", "NIOCertificateReloading",
      "WorkerEmbedding", "CoordinationProtocol", "Coordinator", "FleetCoordination",
      "ArgumentParser", "ControllerServer", "KubernetesClient", "KubernetesConfiguration", "KubernetesCore",
      "KubernetesRuntime", "Logging", "Observability", "RateBudget", "ScalingAPI", "ScalingController",
      "ScalingDecision", "ServiceLifecycle", "StatusPage", "UnixSignals",
      "FoundationEssentials", "Foundation", "Glibc", "Musl", "Darwin",
    ],
    "CProcessSpawn": [],
    "swarmscale-shim": [],
    "ProcessNode": [
      "CProcessSpawn", "KubernetesCore", "KubernetesRuntime", "Logging", "ServiceLifecycle", "Synchronization", "Glibc",
      "Musl", "Darwin",
    ],
    "LocalAPI": ["KubernetesCore", "ScalingAPI"],
    "LocalCluster": [
      "Crypto", "HTTPTypes", "Hummingbird", "HummingbirdTLS", "KubernetesCore", "KubernetesRuntime", "LocalAPI",
      "Logging", "NIOSSL", "ServiceLifecycle", "SwiftASN1", "X509", "FoundationEssentials", "Foundation", "Glibc",
      "Musl", "Darwin",
    ],
    "local-cluster": [
      "ArgumentParser", "KubernetesCore", "KubernetesRuntime", "LocalAPI", "LocalCluster", "Logging",
      "ServiceLifecycle", "UnixSignals", "FoundationEssentials", "Foundation", "Glibc", "Musl", "Darwin",
    ],
    "TaskQueue": ["PriorityQueue"],
    "CoordinationEngine": ["TaskQueue"],
    "SwarmOrchestrator": ["CoordinationCore", "CoordinationEngine", "Logging", "TaskQueue"],
    "CoordinationAPI": ["CoordinationEngine", "JSON", "Synchronization", "TaskQueue"],
    "LocalEngine": [
      "CoordinationEngine", "Crypto", "PriorityQueue", "Synchronization", "TaskQueue", "Glibc", "Musl", "Darwin",
    ],
    "TaskQueueServer": [
      "CoordinationAPI", "CoordinationEngine", "HTTPTypes", "Hummingbird", "KubernetesCore", "LocalEngine", "Logging",
      "NIOCore", "ServiceLifecycle", "TaskQueue",
    ],
    "SQLiteEngine": [
      "CoordinationEngine", "Dispatch", "GRDB", "LocalEngine", "Synchronization", "TaskQueue", "FoundationEssentials",
      "Foundation", "Glibc", "Musl", "Darwin",
    ],
    "NATSClient": [
      "Crypto", "Logging", "NIOCore", "NIOPosix", "NIOSSL", "NIOTLS", "ServiceLifecycle", "FoundationEssentials",
      "Foundation",
    ],
    "JetStreamEngine": [
      "CoordinationEngine", "Crypto", "Logging", "MessageFrames", "NATSClient", "PayloadCompression", "NIOCore",
      "TaskQueue", "Glibc", "Musl", "Darwin",
    ],
    "TaskCommands": [
      "ArgumentParser", "KubernetesClient", "KubernetesCore", "LocalEngine", "Logging", "SQLiteEngine",
      "ServiceLifecycle", "TaskQueue", "TaskQueueServer", "UnixSignals", "CoordinationAPI", "CoordinationEngine",
      "Foundation", "JetStreamEngine", "NATSClient", "SwarmOrchestrator",
    ],
    "WorkloadTrace": [],
    "LocalMode": [
      "ArgumentParser", "KubernetesClient", "KubernetesConfiguration", "KubernetesCore", "KubernetesRuntime",
      "CoordinationEngine", "KubernetesYAML", "LocalAPI", "LocalCluster", "LocalEngine", "Logging", "ProcessNode",
      "ServiceLifecycle", "Synchronization", "TaskCommands", "TaskQueue", "TaskQueueServer", "UnixSignals",
      "WorkloadTrace", "FoundationEssentials", "Foundation", "Glibc",
      "Musl", "Darwin",
    ],
    "UserCommands": [
      "ArgumentParser", "KubernetesClient", "KubernetesConfiguration", "KubernetesRuntime", "ScalingAPI",
      "ScalingDecision", "HPAReference", "KubernetesCore", "KubernetesYAML", "WorkerEmbedding", "YAML",
      "System", "SystemPackage", "FoundationEssentials", "Foundation", "Glibc", "Musl", "Darwin",
    ],
    "swarmscale": [
      "ArgumentParser", "ControllerCommand", "LocalMode", "Observability", "TaskCommands", "UserCommands",
    ],
    "swarmscale-controller": ["ArgumentParser", "ControllerCommand"],
  ]

  private static func swiftFiles(below folder: String) -> [URL] {
    let base = root.appendingPathComponent(folder)
    let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
    return names.filter { $0.hasSuffix(".swift") }.sorted().map { base.appendingPathComponent($0) }
  }

  private static func lines(of file: URL) -> [String] {
    ((try? String(contentsOf: file, encoding: .utf8)) ?? "").components(separatedBy: "\n")
  }

  private static func name(of file: URL) -> String {
    String(file.path.dropFirst(root.path.count + 1))
  }

  private static func isGenerated(_ file: URL) -> Bool {
    [".pb.swift", ".grpc.swift", ".generated.swift"].contains { file.lastPathComponent.hasSuffix($0) }
  }

  @Test("Each target imports only what stands below it")
  func imports() {
    var seen: Set<String> = []
    for file in Self.swiftFiles(below: "Sources") where !Self.isGenerated(file) {
      let target = Self.name(of: file).split(separator: "/").dropFirst().first.map(String.init) ?? ""
      seen.insert(target)
      guard let allowed = Self.allowedImports[target] else {
        Issue.record("\(target): no row in allowedImports")
        continue
      }
      for line in Self.lines(of: file) {
        let words = line.trimmingCharacters(in: .whitespaces).split(separator: " ").map(String.init)
        guard let at = words.firstIndex(of: "import"), at + 1 < words.count,
          words[..<at].allSatisfy({
            ["public", "package", "internal", "private", "@preconcurrency", "@_exported"].contains($0)
          })
        else { continue }
        let kinds: Set = ["struct", "class", "enum", "protocol", "func", "typealias", "var", "let"]
        let path = kinds.contains(words[at + 1]) ? words[min(at + 2, words.count - 1)] : words[at + 1]
        let module = String(path.split(separator: ".").first ?? "")
        let fine = ["Synchronization"].contains(module) || allowed.contains(module)
        #expect(fine, "\(Self.name(of: file)) imports \(module)")
      }
    }
    #expect(seen.count > 5, "the sources were not found")
  }

  @Test("No call that the style bans stands in the sources")
  func bannedCalls() {
    let banned: [(pattern: String, why: String)] = [
      ("Task.detached", "own every task: use a task group"),
      ("Task {", "own every task: use a task group"),
      ("Task.sleep", "sleep through a TimeSource"),
      ("try!", "handle the error"),
      ("as! ", "use as? and handle nil"),
      ("nonisolated(unsafe)", "prove it with a Mutex"),
      ("fatalError()", "say what is wrong"),
    ]
    for file in Self.swiftFiles(below: "Sources") where !Self.isGenerated(file) {
      let lines = Self.lines(of: file)
      for (number, line) in lines.enumerated() {
        let code = line.components(separatedBy: "//").first ?? ""
        // One that must outlive a cancellation, awaited in the same function: the line above says by whom.
        let isOwned = number > 0 && lines[number - 1].contains("// Owned:")
        for rule in banned where code.contains(rule.pattern) {
          // Not the end of another name, such as `addTask {` or `extension SwarmTask {`.
          if rule.pattern == "Task {", isOwned || code.firstMatch(of: /\bTask \{/) == nil { continue }
          Issue.record("\(Self.name(of: file)):\(number + 1): \(rule.pattern): \(rule.why)")
        }
      }
    }
  }

  @Test("Every @unchecked Sendable stands below a comment that proves it")
  func uncheckedSendable() {
    for file in Self.swiftFiles(below: "Sources") where !Self.isGenerated(file) {
      let lines = Self.lines(of: file)
      for (number, line) in lines.enumerated() where line.contains("@unchecked Sendable") && !isComment(line) {
        // The comment right above, however many lines and attributes long; it says that it is the proof.
        var first = number
        while first > 0, isComment(lines[first - 1]) || isAttribute(lines[first - 1]) { first -= 1 }
        let proof = lines[first..<number].drop { !Self.isProof($0) }.filter(isComment)
          .map { $0.drop { " /".contains($0) } }.joined(separator: " ")
        let words = proof.split(separator: " ").count
        // "Sendable: trust me" proves nothing.
        #expect(words >= 8, "\(Self.name(of: file)):\(number + 1): no comment `// Sendable: why` right above")
      }
    }
  }

  private static func isProof(_ line: String) -> Bool {
    line.trimmingCharacters(in: .whitespaces).hasPrefix("// Sendable: ")
  }

  private func isAttribute(_ line: String) -> Bool {
    line.trimmingCharacters(in: .whitespaces).hasPrefix("@")
  }

  private func isComment(_ line: String) -> Bool {
    line.trimmingCharacters(in: .whitespaces).hasPrefix("//")
  }

  @Test("No leftover marker stands in the sources, tests, scripts or manifests")
  func leftovers() {
    let markers = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
    for folder in ["Sources", "Tests", "Benchmarks"] {
      for file in Self.swiftFiles(below: folder) where !Self.isGenerated(file) {
        for (number, line) in Self.lines(of: file).enumerated() {
          for marker in markers where line.contains(marker) {
            Issue.record("\(Self.name(of: file)):\(number + 1): \(marker)")
          }
        }
      }
    }
  }

  @Test("No function is longer than 70 lines, no file longer than 700")
  func lengths() {
    for file in Self.swiftFiles(below: "Sources") where !Self.isGenerated(file) {
      let lines = Self.lines(of: file)
      #expect(lines.count <= 700, "\(Self.name(of: file)) has \(lines.count) lines")
      var start: (line: Int, indent: Int)?
      for (number, line) in lines.enumerated() {
        let indent = line.prefix { $0 == " " }.count
        let text = line.dropFirst(indent)
        let opens = text.contains("func ") || text.hasPrefix("init") || text.contains(" init(")
        if opens && !isComment(line) && !text.contains("}") { start = (number, indent) }
        if text.hasPrefix("}"), let begun = start, begun.indent == indent {
          let length = number - begun.line + 1
          #expect(length <= 70, "\(Self.name(of: file)):\(begun.line + 1) has \(length) lines")
          start = nil
        }
      }
    }
  }

  @Test("No committed file names a folder of somebody's machine")
  func machinePaths() {
    let banned = ["/wo" + "rk/", "/tmp/" + "wt"]
    for folder in ["Sources", "Tests", "scripts", "docs", "examples", "manifests", "Helm", "Benchmarks"] {
      let base = Self.root.appendingPathComponent(folder)
      let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
      for name in names.sorted() where !name.hasSuffix(".json") && !name.contains("__pycache__") {
        let text = (try? String(contentsOf: base.appendingPathComponent(name), encoding: .utf8)) ?? ""
        for path in banned {
          #expect(!text.contains(path), "\(folder)/\(name) names \(path)")
        }
      }
    }
  }

  @Test("Every suite that swift test leaves out stands in scripts/test, or nothing would run it")
  func slowTests() throws {
    let script = try String(contentsOf: Self.root.appendingPathComponent("scripts/test"), encoding: .utf8)
    let arrays = ["simulations", "partly_slow", "kills", "alone", "on_servers"].flatMap { name -> [Substring] in
      let line = script.split(separator: "\n").first { $0.hasPrefix("\(name)=(") }
      return line?.dropFirst(name.count + 2).prefix { $0 != ")" }.split(separator: " ") ?? []
    }
    #expect(arrays.count >= 18)
    var found = 0
    for file in Self.swiftFiles(below: "Tests") {
      var suite: Substring = ""
      for line in Self.lines(of: file) {
        if let range = line.range(of: "struct "), !line.hasPrefix(" ") {
          suite = line[range.upperBound...].prefix { $0.isLetter || $0.isNumber }
        }
        guard !isComment(line), line.contains(/[( ]\.(slow|alone)[,)]/) else { continue }
        // The trait of a suite may stand a line above its name.
        if line.hasPrefix("@Suite"), !line.contains("struct ") { suite = "" }
        found += 1
        let target = file.deletingLastPathComponent().path.split(separator: "/")
        #expect(
          arrays.contains { name in
            name.split(separator: ".").allSatisfy { $0 == suite || target.contains($0) }
          }, "\(Self.name(of: file)): \(suite)")
      }
    }
    #expect(found >= 30)
  }
}
