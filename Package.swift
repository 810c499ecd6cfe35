// swift-tools-version: 6.2

import PackageDescription

// Targets stand in dependency order: each may import only what stands above it.
// The tidy test (Tests/TidyTests) holds the sources to the imports declared here.
let package = Package(
  name: "swarmscale",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "swarmscale", targets: ["swarmscale"]),
    .executable(name: "swarmscale-controller", targets: ["swarmscale-controller"]),
    .executable(name: "swarmscale-sidecar", targets: ["swarmscale-sidecar"]),
    .executable(name: "swarmscale-shim", targets: ["swarmscale-shim"]),
    .library(name: "SwarmCoordination", targets: ["SwarmCoordination"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    // Without its default traits: no full Foundation, and so no ICU.
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
    .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
    .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
    .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    // Without its default traits: no swift-configuration, and FoundationEssentials instead of Foundation.
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    // Tests only: a client of the sidecar.
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    // Without its default trait: no Foundation.
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
  ],
  targets: [
    .target(name: "JSON"),

    // MARK: Kubernetes, without I/O
    .target(name: "KubernetesCore", dependencies: ["JSON"]),
    .target(
      name: "KubernetesProtobuf",
      dependencies: ["KubernetesCore", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
      exclude: ["Protos"]),

    .systemLibrary(
      name: "CLibYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"]), .brew(["libyaml"])]),
    .target(name: "YAML", dependencies: ["CLibYAML"]),
    .target(name: "KubernetesYAML", dependencies: ["KubernetesCore", "YAML"]),

    // MARK: Kubernetes, over libcurl
    .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"]), .brew(["curl"])]),
    .target(name: "CCurlShim", dependencies: ["CCurl"]),
    .target(name: "KubernetesClient", dependencies: ["KubernetesCore", "CCurl", "CCurlShim"]),
    .target(
      name: "KubernetesConfiguration",
      dependencies: [
        "KubernetesCore", "KubernetesClient", "KubernetesYAML", "YAML",
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system", condition: .when(platforms: [.linux])),
      ]),
    .target(
      name: "KubernetesRuntime",
      dependencies: [
        "KubernetesCore", "KubernetesProtobuf",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),

    // MARK: Scaling
    .target(name: "ScalingAPI", dependencies: ["KubernetesCore"]),
    .target(name: "ScalingDecision", dependencies: ["KubernetesCore", "ScalingAPI"]),
    .target(name: "ScalingObservation", dependencies: ["KubernetesCore", "ScalingDecision"]),
    .target(name: "HPAReference", dependencies: ["KubernetesCore", "ScalingAPI"]),

    // MARK: What pods carry
    .target(name: "WorkerEmbedding", dependencies: ["KubernetesCore", "ScalingAPI"]),

    // MARK: The Claude API's budget
    .target(name: "PriorityQueue"),
    .target(name: "RateBudget", dependencies: ["PriorityQueue"]),
    .target(name: "CoordinationCore", dependencies: ["PriorityQueue"]),
    .target(
      name: "CoordinationProtocol",
      dependencies: [
        "RateBudget",
        .product(name: "GRPCCore", package: "grpc-swift-2"),
        .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      exclude: ["Protos"]),
    .target(
      name: "Coordinator",
      dependencies: [
        "RateBudget", "CoordinationProtocol",
        .product(name: "GRPCCore", package: "grpc-swift-2"),
        .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras"),
      ]),

    // MARK: What engines keep (docs/coordination.md)
    .target(name: "TaskQueue", dependencies: ["PriorityQueue"]),
    .target(name: "CoordinationEngine", dependencies: ["TaskQueue"]),

    // MARK: Messages between agents (docs/messages.md)
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]),
    .target(name: "MemoryPool"),
    .target(name: "MessageFrames"),
    // What scripts/train-dictionary writes.
    .target(name: "CCompressionDictionaries", exclude: ["Dictionaries"]),
    .target(
      name: "PayloadCompression", dependencies: ["CCompressionDictionaries", "CZstd", "MemoryPool", "MessageFrames"]),
    .target(name: "AgentMessages", dependencies: ["CoordinationEngine", "MessageFrames", "PriorityQueue"]),

    // MARK: A local Messages API, for tests and local mode
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
    .target(name: "MockClaude"),
    .target(
      name: "MockClaudeServer",
      dependencies: [
        "MockClaude", "CZlib",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ]),
    .target(
      name: "MockClaudeCommand",
      dependencies: [
        "KubernetesCore", "KubernetesYAML", "MockClaude", "MockClaudeServer", "YAML",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),

    // MARK: What agents share (docs/coordination.md)
    // The verbs as requests and answers, whoever carries them.
    .target(name: "CoordinationAPI", dependencies: ["CoordinationEngine", "JSON", "TaskQueue"]),
    // Drives the cores of CoordinationCore on any engine: membership, leader, tiers, shards.
    .target(
      name: "SwarmOrchestrator",
      dependencies: [
        "CoordinationCore", "CoordinationEngine", "TaskQueue", .product(name: "Logging", package: "swift-log"),
      ]),
    .target(
      name: "NATSClient",
      dependencies: [
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOTLS", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .target(
      name: "JetStreamEngine",
      dependencies: [
        "CoordinationEngine", "MessageFrames", "NATSClient", "PayloadCompression", "TaskQueue",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
      ]),

    // MARK: Agents of a pod (docs/agents.md)
    .target(name: "CHeap"),
    .target(name: "Observability", dependencies: ["CHeap", .product(name: "Logging", package: "swift-log")]),
    .target(
      name: "AgentRuntime",
      dependencies: [
        "CoordinationCore", "CoordinationEngine", "Observability", "PayloadCompression",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
      ]),

    // Steps, checkpoints and results that survive their worker.
    .target(
      name: "TaskRecovery",
      dependencies: [
        "CoordinationAPI", "CoordinationCore", "CoordinationEngine", "MessageFrames", "PayloadCompression", "TaskQueue",
        .product(name: "NIOPosix", package: "swift-nio"),
      ]),

    // MARK: The embedded library and the sidecar
    .target(
      name: "SwarmCoordination",
      dependencies: [
        "AgentMessages", "AgentRuntime", "CoordinationAPI", "CoordinationCore", "CoordinationEngine",
        "CoordinationProtocol", "JetStreamEngine", "JSON", "MessageFrames", "NATSClient", "PayloadCompression",
        "RateBudget", "SwarmOrchestrator", "TaskQueue", "TaskRecovery",
        .product(name: "GRPCCore", package: "grpc-swift-2"),
        .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOTLS", package: "swift-nio"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),
    .target(
      name: "SidecarServer",
      dependencies: [
        "CoordinationAPI", "Observability", "RateBudget", "SwarmCoordination",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ]),
    .target(
      name: "SidecarCommand",
      dependencies: [
        "CoordinationAPI", "Observability", "RateBudget", "SidecarServer", "SwarmCoordination", "YAML",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),

    // MARK: The controller
    .target(name: "MetricBridges", dependencies: ["KubernetesCore"]),
    .target(
      name: "ScalingController",
      dependencies: [
        "KubernetesCore", "KubernetesProtobuf", "KubernetesRuntime", "ScalingAPI", "ScalingDecision",
        "ScalingObservation", "Observability", "WorkerEmbedding",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .target(
      name: "FleetCoordination",
      dependencies: [
        "CoordinationProtocol", "Coordinator", "KubernetesCore", "KubernetesRuntime", "MetricBridges", "Observability",
        "RateBudget", "ScalingAPI", "ScalingController", "ScalingDecision", "ScalingObservation",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras"),
      ]),
    .target(
      name: "FleetCertificates",
      dependencies: [
        "KubernetesCore", "KubernetesRuntime",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "SwiftASN1", package: "swift-asn1"),
        .product(name: "X509", package: "swift-certificates"),
      ]),
    .target(
      name: "AdmissionWebhook",
      dependencies: [
        "KubernetesCore", "KubernetesRuntime", "ScalingAPI", "ScalingController", "WorkerEmbedding",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .target(
      name: "ExternalScaler",
      dependencies: [
        "KubernetesCore", "MetricBridges",
        .product(name: "GRPCCore", package: "grpc-swift-2"),
        .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
        .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf"),
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      exclude: ["Protos"]),
    .target(
      name: "StatusPage", dependencies: ["KubernetesCore", "ScalingDecision", "ScalingObservation"],
      exclude: ["Assets"]),
    .target(
      name: "ControllerServer",
      dependencies: [
        "StatusPage",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .target(
      name: "ControllerCommand",
      dependencies: [
        "AdmissionWebhook", "ControllerServer", "CoordinationProtocol", "Coordinator", "ExternalScaler",
        "FleetCertificates", "FleetCoordination", "KubernetesClient", "KubernetesConfiguration", "KubernetesCore",
        "KubernetesRuntime", "MetricBridges", "Observability", "RateBudget", "ScalingAPI", "ScalingController",
        "ScalingDecision",
        "StatusPage", "WorkerEmbedding",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),

    // MARK: Local mode
    .target(name: "CProcessSpawn"),
    .target(
      name: "ProcessNode",
      dependencies: [
        "CProcessSpawn", "KubernetesCore", "KubernetesRuntime",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),

    // MARK: The local cluster (docs/local-cluster.md)
    .target(name: "LocalAPI", dependencies: ["KubernetesCore", "ScalingAPI"]),
    .target(
      name: "LocalCluster",
      dependencies: [
        "KubernetesCore", "KubernetesRuntime", "LocalAPI",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "SwiftASN1", package: "swift-asn1"),
        .product(name: "X509", package: "swift-certificates"),
      ]),

    // MARK: Tasks (docs/task-queue.md)
    .target(
      name: "LocalEngine",
      dependencies: [
        "CoordinationEngine", "PriorityQueue", "TaskQueue", .product(name: "Crypto", package: "swift-crypto"),
      ]),
    .target(
      name: "SQLiteEngine",
      dependencies: [
        "CoordinationEngine", "LocalEngine", "TaskQueue", .product(name: "GRDB", package: "GRDB.swift"),
      ]),
    .target(
      name: "TaskQueueServer",
      dependencies: [
        "CoordinationAPI", "CoordinationEngine", "KubernetesCore", "LocalEngine", "TaskQueue",
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .target(
      name: "TaskCommands",
      dependencies: [
        "CoordinationAPI", "CoordinationEngine", "JetStreamEngine", "KubernetesClient", "KubernetesCore", "LocalEngine",
        "NATSClient", "SQLiteEngine", "SwarmOrchestrator", "TaskQueue", "TaskQueueServer",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),
    .target(name: "WorkloadTrace"),

    .target(
      name: "LocalMode",
      dependencies: [
        "KubernetesClient", "KubernetesConfiguration", "KubernetesCore", "KubernetesRuntime", "KubernetesYAML",
        "CoordinationEngine", "LocalAPI", "LocalCluster", "LocalEngine", "ProcessNode", "TaskCommands", "TaskQueue",
        "TaskQueueServer", "WorkloadTrace",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),

    // MARK: The user's commands
    .target(
      name: "UserCommands",
      dependencies: [
        "KubernetesClient", "KubernetesConfiguration", "KubernetesCore", "KubernetesRuntime", "KubernetesYAML",
        "ScalingAPI", "ScalingDecision", "HPAReference", "WorkerEmbedding", "YAML",
        .product(name: "SystemPackage", package: "swift-system", condition: .when(platforms: [.linux])),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    // MARK: Executables
    .executableTarget(
      name: "swarmscale",
      dependencies: [
        "ControllerCommand", "LocalMode", "Observability", "TaskCommands", "UserCommands",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .executableTarget(
      name: "swarmscale-controller",
      dependencies: ["ControllerCommand", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
    .executableTarget(
      name: "swarmscale-sidecar",
      dependencies: ["SidecarCommand", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
    .executableTarget(
      name: "mock-claude",
      dependencies: ["MockClaudeCommand", .product(name: "ArgumentParser", package: "swift-argument-parser")]),

    // One for each container that the process node runs: small, so in C.
    .executableTarget(
      name: "swarmscale-shim",
      // Without the Swift runtime that the driver would link in: 0.1 MB instead of 8.8, and half the memory, for each container.
      linkerSettings: [
        .unsafeFlags(
          ["-nostartfiles", "-Xlinker", "--as-needed", "-Xlinker", "--gc-sections"],
          .when(platforms: [.linux], configuration: .release))
      ]),

    // For Tests/LocalCluster; the product has `swarmscale local`.
    .executableTarget(
      name: "local-cluster",
      dependencies: [
        "KubernetesCore", "KubernetesRuntime", "LocalAPI", "LocalCluster",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),

    // MARK: Examples (docs/library.md)
    .executableTarget(name: "example-worker", dependencies: ["SwarmCoordination"], path: "examples/worker"),
    .executableTarget(
      name: "example-local-worker",
      dependencies: [
        "SwarmCoordination", .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      path: "examples/local-worker"),

    // A fleet and an API in virtual time, for RateBudget's tests and for what the benchmarks say of budgets.
    .target(name: "BudgetSimulation", dependencies: ["RateBudget"], path: "Tests/BudgetSimulation"),

    // MARK: Benchmarks (Benchmarks/README.md)
    .executableTarget(
      name: "SwarmscaleBenchmarks",
      dependencies: [
        "HPAReference", "KubernetesCore", "KubernetesProtobuf", "ScalingDecision", "ScalingObservation",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Benchmarks/Sources/SwarmscaleBenchmarks"),
    .executableTarget(
      name: "CoordinatorBenchmarks",
      dependencies: [
        "CoordinationProtocol", "Coordinator", "RateBudget",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "GRPCCore", package: "grpc-swift-2"),
        .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
      ],
      path: "Benchmarks/Sources/CoordinatorBenchmarks"),
    .executableTarget(
      name: "CoordinationBenchmarks",
      dependencies: [
        "AgentMessages", "AgentRuntime", "BudgetSimulation", "CoordinationCore", "CoordinationEngine", "HPAReference",
        "JetStreamEngine", "KubernetesCore", "LocalEngine", "MemoryPool", "MessageFrames", "NATSClient",
        "NATSTestSupport", "Observability", "PayloadCompression", "ScalingDecision", "SQLiteEngine",
        "SwarmOrchestrator", "TaskQueue", "TaskRecovery",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
      ],
      path: "Benchmarks/Sources/CoordinationBenchmarks"),
    .executableTarget(
      name: "SidecarBenchmarks",
      dependencies: [
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      path: "Benchmarks/Sources/SidecarBenchmarks"),

    .executableTarget(
      name: "EngineBenchmarks",
      dependencies: [
        "CoordinationEngine", "LocalEngine", "SQLiteEngine", "TaskQueue",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Benchmarks/Sources/EngineBenchmarks"),
    .executableTarget(
      name: "NATSBenchmarks",
      dependencies: [
        "CoordinationEngine", "JetStreamEngine", "NATSClient", "TaskQueue",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "NIOCore", package: "swift-nio"),
      ],
      path: "Benchmarks/Sources/NATSBenchmarks"),

    // MARK: Tests
    .target(name: "SlowTests", path: "Tests/SlowTests"),
    .target(name: "TestSupport", dependencies: ["KubernetesCore"], path: "Tests/TestSupport"),
    .testTarget(name: "TidyTests"),
    .executableTarget(
      name: "process-node-testbed",
      dependencies: [
        "KubernetesClient", "KubernetesConfiguration", "KubernetesCore", "KubernetesRuntime", "ProcessNode",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      path: "Tests/ProcessNode/testbed"),
    .testTarget(
      name: "LocalModeTests",
      dependencies: [
        "KubernetesCore", "LocalAPI", "LocalEngine", "LocalMode", "TaskQueue", "TaskQueueServer", "TestSupport",
        "WorkloadTrace",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(
      name: "ProcessNodeTests",
      dependencies: [
        "KubernetesCore", "KubernetesRuntime", "ProcessNode", "TestSupport", "swarmscale-shim",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .testTarget(
      name: "ControlPlaneTests",
      dependencies: [
        "AdmissionWebhook", "ControllerCommand", "ControllerServer", "CoordinationProtocol", "Coordinator",
        "FleetCertificates", "FleetCoordination", "KubernetesClient", "KubernetesConfiguration", "KubernetesCore",
        "KubernetesRuntime", "KubernetesYAML", "Observability", "RateBudget", "ScalingAPI", "ScalingController",
        "ScalingDecision", "SwarmCoordination", "TestSupport", "UserCommands", "WorkerEmbedding",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .testTarget(
      name: "ControllerCommandTests",
      dependencies: [
        "ControllerCommand", "KubernetesCore", "KubernetesRuntime", "MetricBridges", "ScalingAPI", "ScalingController",
        "ScalingDecision", "TestSupport", .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(name: "MetricBridgesTests", dependencies: ["KubernetesCore", "MetricBridges"]),
    .testTarget(
      name: "ExternalScalerTests",
      dependencies: [
        "ExternalScaler", "KubernetesCore", "KubernetesRuntime", "MetricBridges", "TestSupport",
        .product(name: "GRPCCore", package: "grpc-swift-2"),
        .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .testTarget(
      name: "ObservabilityTests",
      dependencies: ["Observability", .product(name: "Logging", package: "swift-log")]),
    .testTarget(name: "KubernetesCoreTests", dependencies: ["KubernetesCore", "TestSupport"]),
    .testTarget(name: "YAMLTests", dependencies: ["KubernetesYAML", "YAML", "KubernetesCore"]),
    .testTarget(
      name: "KubernetesProtobufTests", dependencies: ["KubernetesProtobuf", "KubernetesCore", "TestSupport"]),
    .testTarget(
      name: "KubernetesClientTests", dependencies: ["KubernetesClient", "KubernetesCore", "TestSupport"],
      exclude: ["Support/make_certificates.sh", "Support/test_server.py"]),
    .testTarget(
      name: "KubernetesConfigurationTests",
      dependencies: ["KubernetesConfiguration", "KubernetesClient", "KubernetesCore", "TestSupport"]),
    .testTarget(
      name: "KubernetesRuntimeTests",
      dependencies: ["KubernetesRuntime", "KubernetesCore", "KubernetesProtobuf", "TestSupport"]),
    .testTarget(
      name: "ScalingAPITests", dependencies: ["ScalingAPI", "KubernetesCore", "KubernetesYAML", "TestSupport", "YAML"]),
    .testTarget(
      name: "ScalingDecisionTests",
      dependencies: [
        "ScalingDecision", "ScalingObservation", "ScalingAPI", "KubernetesCore", "SlowTests", "TestSupport",
      ]),
    .testTarget(
      name: "ScalingObservationTests",
      dependencies: ["ScalingObservation", "ScalingDecision", "HPAReference", "KubernetesCore", "TestSupport"]),
    .testTarget(
      name: "ScalingControllerTests",
      dependencies: [
        "ScalingController", "ScalingDecision", "ScalingObservation", "ScalingAPI", "KubernetesCore",
        "KubernetesRuntime", "Observability", "SlowTests", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(
      name: "FleetCoordinationTests",
      dependencies: [
        "CoordinationProtocol", "Coordinator", "FleetCoordination", "KubernetesCore", "KubernetesRuntime",
        "MetricBridges", "Observability", "RateBudget", "ScalingAPI", "ScalingController", "ScalingDecision",
        "ScalingObservation", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(name: "TaskQueueTests", dependencies: ["SlowTests", "TaskQueue"]),
    .testTarget(name: "CoordinationCoreTests", dependencies: ["CoordinationCore", "SlowTests"]),
    .testTarget(
      name: "CoordinationSimulation", dependencies: ["CoordinationCore", "PriorityQueue", "SlowTests", "TaskQueue"]),
    .target(
      name: "EngineConformance", dependencies: ["CoordinationEngine", "LocalEngine", "TaskQueue"],
      path: "Tests/EngineConformance"),
    .testTarget(
      name: "LocalEngineTests", dependencies: ["CoordinationEngine", "EngineConformance", "LocalEngine", "TaskQueue"]),
    .target(
      name: "NATSTestSupport",
      dependencies: [
        "NATSClient",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      path: "Tests/NATSTestSupport"),
    .testTarget(
      name: "NATSClientTests",
      dependencies: [
        "NATSClient", "NATSTestSupport",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOCore", package: "swift-nio"),
      ]),
    .executableTarget(
      name: "jetstream-testbed", dependencies: ["CoordinationEngine", "JetStreamEngine", "NATSClient", "TaskQueue"],
      path: "Tests/JetStreamTestbed"),
    .executableTarget(
      name: "chaos-testbed",
      dependencies: [
        "CoordinationEngine", "JetStreamEngine", "NATSClient", "TaskQueue",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      path: "Tests/Chaos/Testbed"),
    .testTarget(
      name: "JetStreamEngineTests",
      dependencies: [
        "CoordinationEngine", "EngineConformance", "JetStreamEngine", "MessageFrames", "NATSClient", "NATSTestSupport",
        "PayloadCompression", "TaskQueue",
        "jetstream-testbed",
        .product(name: "NIOCore", package: "swift-nio"),
      ]),
    .executableTarget(
      name: "orchestrator-testbed",
      dependencies: [
        "CoordinationEngine", "JetStreamEngine", "NATSClient", "SwarmOrchestrator", "TaskQueue",
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Tests/OrchestratorTestbed"),
    .testTarget(
      name: "SwarmOrchestratorTests",
      dependencies: [
        "CoordinationCore", "CoordinationEngine", "JetStreamEngine", "LocalEngine", "NATSClient", "NATSTestSupport",
        "SlowTests", "SwarmOrchestrator", "TaskQueue", "orchestrator-testbed",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(
      name: "SQLiteEngineTests",
      dependencies: [
        "CoordinationEngine", "EngineConformance", "LocalEngine", "SQLiteEngine", "SlowTests", "TaskQueue",
        "TestSupport",
        "engine-testbed", .product(name: "GRDB", package: "GRDB.swift"),
      ]),
    .executableTarget(
      name: "engine-testbed", dependencies: ["CoordinationEngine", "LocalEngine", "SQLiteEngine", "TaskQueue"],
      path: "Tests/SQLiteEngine/testbed"),
    .testTarget(
      name: "TaskCommandsTests",
      dependencies: [
        "KubernetesCore", "LocalEngine", "TaskCommands", "TaskQueueServer",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .testTarget(
      name: "TaskQueueServerTests",
      dependencies: ["KubernetesCore", "LocalEngine", "TaskQueue", "TaskQueueServer", "TestSupport"]),
    .testTarget(
      name: "TaskClientTests",
      dependencies: [
        "CoordinationAPI", "CoordinationCore", "CoordinationEngine", "JetStreamEngine", "KubernetesCore",
        "KubernetesRuntime", "NATSClient", "NATSTestSupport",
        "Observability", "RateBudget", "SidecarServer", "SwarmCoordination", "LocalEngine", "TaskCommands", "TaskQueue",
        "SlowTests", "TaskQueueServer", "example-local-worker", "swarmscale-sidecar",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .executableTarget(
      name: "recovery-testbed",
      dependencies: [
        "CoordinationEngine", "JetStreamEngine", "NATSClient", "PayloadCompression", "SQLiteEngine", "TaskQueue",
        "TaskRecovery",
      ],
      path: "Tests/RecoveryTestbed"),
    .testTarget(
      name: "TaskRecoveryTests",
      dependencies: [
        "CoordinationCore", "CoordinationEngine", "LocalEngine", "NATSTestSupport", "PayloadCompression", "SlowTests",
        "TaskQueue",
        "TaskRecovery", "TestSupport", "recovery-testbed",
      ]),
    .testTarget(
      name: "RemoteEngineTests",
      dependencies: [
        "CoordinationAPI", "CoordinationEngine", "EngineConformance", "JSON", "LocalEngine", "SwarmCoordination",
        "TaskQueue", "TaskQueueServer",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .testTarget(name: "WorkloadTraceTests", dependencies: ["WorkloadTrace"]),
    .testTarget(name: "LocalAPITests", dependencies: ["KubernetesCore", "KubernetesYAML", "LocalAPI"]),
    .testTarget(
      name: "StatusPageTests",
      dependencies: [
        "KubernetesCore", "ScalingDecision", "ScalingObservation", "SlowTests", "StatusPage", "TestSupport",
      ]),
    .executableTarget(
      name: "StatusPagePreview",
      dependencies: [
        "ControllerServer", "KubernetesCore", "ScalingDecision", "ScalingObservation", "StatusPage",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      path: "Tests/StatusPagePreview"),
    .testTarget(
      name: "WorkerEmbeddingTests", dependencies: ["KubernetesCore", "KubernetesYAML", "WorkerEmbedding"],
      exclude: ["Golden"]),
    .testTarget(
      name: "FleetCertificatesTests",
      dependencies: [
        "FleetCertificates", "KubernetesCore", "KubernetesRuntime", "TestSupport",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "SwiftASN1", package: "swift-asn1"),
        .product(name: "X509", package: "swift-certificates"),
      ]),
    .testTarget(
      name: "AdmissionWebhookTests",
      dependencies: [
        "AdmissionWebhook", "KubernetesCore", "KubernetesRuntime", "ScalingAPI", "ScalingController", "WorkerEmbedding",
      ]),
    .testTarget(name: "RateBudgetTests", dependencies: ["BudgetSimulation", "RateBudget", "SlowTests"]),
    .testTarget(name: "MemoryPoolTests", dependencies: ["MemoryPool"]),
    .testTarget(name: "MessageFramesTests", dependencies: ["MessageFrames"]),
    .testTarget(
      name: "PayloadCompressionTests",
      dependencies: ["CCompressionDictionaries", "MemoryPool", "MessageFrames", "PayloadCompression"]),
    .testTarget(
      name: "AgentMessagesTests",
      dependencies: [
        "AgentMessages", "CoordinationEngine", "JetStreamEngine", "LocalEngine", "MessageFrames", "NATSClient",
        "NATSTestSupport", "PayloadCompression", "SlowTests", "TaskQueue",
      ]),
    .testTarget(
      name: "AgentRuntimeTests",
      dependencies: [
        "AgentRuntime", "CoordinationCore", "CoordinationEngine", "EngineConformance", "JetStreamEngine", "LocalEngine",
        "NATSClient", "NATSTestSupport", "Observability", "PayloadCompression", "SlowTests",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(
      name: "CoordinatorTests",
      dependencies: [
        "CoordinationProtocol", "Coordinator", "KubernetesCore", "RateBudget", "SwarmCoordination", "TestSupport",
        .product(name: "GRPCCore", package: "grpc-swift-2"),
        .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ]),
    .testTarget(name: "MockClaudeTests", dependencies: ["MockClaude"]),
    .testTarget(
      name: "MockClaudeServerTests",
      dependencies: [
        "MockClaude", "MockClaudeServer",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ]),
    .testTarget(
      name: "SwarmCoordinationTests",
      dependencies: [
        "AgentMessages", "AgentRuntime", "CoordinationCore", "CoordinationEngine", "CoordinationProtocol",
        "LocalEngine", "PayloadCompression", "RateBudget", "SwarmCoordination",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ]),
    .testTarget(
      name: "SidecarServerTests",
      dependencies: [
        "CoordinationProtocol", "MockClaude", "MockClaudeServer", "Observability", "RateBudget", "SidecarCommand",
        "SidecarServer", "SlowTests", "SwarmCoordination",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ]),
    .testTarget(
      name: "SwarmTests",
      dependencies: [
        "CoordinationEngine", "CoordinationProtocol", "Coordinator", "FleetCoordination", "JetStreamEngine",
        "KubernetesCore", "MockClaude", "MockClaudeServer", "NATSTestSupport", "Observability", "RateBudget",
        "LocalEngine", "SQLiteEngine", "ScalingDecision", "ScalingObservation", "TaskQueue", "TaskQueueServer",
        "SidecarCommand", "SidecarServer", "SlowTests", "SwarmCoordination", "TestSupport", "example-worker",
        "swarmscale-sidecar",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .testTarget(
      name: "DrainTests",
      dependencies: [
        "CoordinationProtocol", "Coordinator", "FleetCoordination", "KubernetesCore", "KubernetesRuntime", "LocalAPI",
        "Observability", "RateBudget", "ScalingAPI", "ScalingController", "ScalingDecision", "ScalingObservation",
        "SlowTests", "SwarmCoordination", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(
      name: "UserCommandsTests",
      dependencies: [
        "UserCommands", "ScalingDecision", "ScalingAPI", "KubernetesCore", "KubernetesYAML", "TestSupport",
        "WorkerEmbedding", "YAML", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .testTarget(
      name: "HPAReferenceTests",
      dependencies: ["HPAReference", "ScalingAPI", "KubernetesCore", "TestSupport"],
      resources: [.copy("Vectors")]),
  ]
)

let cTargets = ["CCompressionDictionaries", "CCurlShim", "CHeap", "CProcessSpawn", "swarmscale-shim"]
for target in package.targets where target.type != .system && !cTargets.contains(target.name) {
  var settings = target.swiftSettings ?? []
  settings += [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
  ]
  target.swiftSettings = settings
}

// The static standard library's link line exports every symbol of an executable's own modules: 36,000, in tables of 3.6 MB that
// nobody looks into (stack traces come from the symbol table), and about 1 MB of them resident in each process.
for target in package.targets where target.type == .executable {
  target.linkerSettings =
    (target.linkerSettings ?? []) + [
      .unsafeFlags(["-Xlinker", "--no-export-dynamic"], .when(platforms: [.linux], configuration: .release))
    ]
}
