import CoordinationCore
import MessageFrames
import PayloadCompression
import TaskRecovery

/// Row 10: bytes on the wire per payload class and time per message.
struct CompressionBenchmark {
  var source: PayloadSource
  let rounds: Int
  private let codec = PayloadCodec()
  private let plain = PayloadCodec(policy: CompressionPolicy(minimumBytes: 0), dictionary: 0)

  init(source: PayloadSource, rounds: Int) {
    self.source = source
    self.rounds = rounds
  }

  private struct Sizes {
    var raw = 0
    var plain = 0
    var packed = 0

    static func + (left: Sizes, right: Sizes) -> Sizes {
      Sizes(raw: left.raw + right.raw, plain: left.plain + right.plain, packed: left.packed + right.packed)
    }
    var saved: Double { 100 - 100 * Double(packed) / Double(raw) }
    var savedPlain: Double { 100 - 100 * Double(plain) / Double(raw) }
  }

  mutating func run(_ report: inout Report) throws {
    let heartbeats = (0..<1_000).map { _ in source.heartbeat() }
    let tasks = (0..<500).map { _ in source.task() }
    let toolCalls = (0..<400).map { _ in source.toolCall() }
    let results = (0..<300).map { _ in source.result() }
    let small = (0..<60).map { _ in source.states(1, reaching: 13_000)[0] }
    let large = (0..<30).map { _ in source.states(1, reaching: 58_000)[0] }
    let heartbeat = try measure("heartbeat", .heartbeat, heartbeats.map { [$0] }, &report)
    let task = try measure("task", .task, tasks.map { [$0] }, &report)
    let toolCall = try measure("tool call", .toolCall, toolCalls.map { [$0] }, &report)
    let result = try measure("result with diff", .result, results.map { [$0] }, &report)
    _ = try measure("state, small", .state, small.map { [$0] }, &report)
    let state = try measure("state, large", .state, large.map { [$0] }, &report)
    let batches = try measure("frame of 50 heartbeats", .heartbeat, chunks(heartbeats, 50), &report)
    _ = try measure("frame of 10 tasks", .task, chunks(tasks, 10), &report)
    _ = try measure("frame of 5 tool calls", .toolCall, chunks(toolCalls, 5), &report)
    let foreign = (0..<300).map { _ in [source.foreign()] }
    _ = try measure("JSON of another program", .message, foreign, &report, isPromised: false)
    let checkpoints = try checkpoints(&report)
    // What one task of ten steps moves: itself, ten tool calls, ten heartbeats in frames of 50, its result, and ten
    // checkpoints; each class by its mean.
    func times(_ count: Int, _ sizes: Sizes, of messages: Int) -> Sizes {
      Sizes(
        raw: sizes.raw * count / messages, plain: sizes.plain * count / messages,
        packed: sizes.packed * count / messages)
    }
    let messages =
      times(1, task, of: 500) + times(10, toolCall, of: 400) + times(10, batches, of: 1_000)
      + times(1, result, of: 300)
    let all = messages + times(10, checkpoints, of: checkpointCount)
    report.add(
      "10", "mix: 1 task, 10 tool calls, 10 heartbeats, 1 result", baseline: "raw \(messages.raw) B", seed: "40–60 %",
      target: "≥ 70 %", measured: "\(messages.saved.text()) %", isMet: messages.saved >= 70)
    report.add(
      "10", "the same with 10 checkpoints of the state", baseline: "raw \(all.raw) B", seed: "40–60 %",
      target: "≥ 70 %", measured: "\(all.saved.text()) %", isMet: all.saved >= 70)
    _ = (heartbeat, state)
    memory(&report)
  }

  private func chunks(_ payloads: [[UInt8]], _ size: Int) -> [[[UInt8]]] {
    stride(from: 0, to: payloads.count, by: size).map { Array(payloads[$0..<min($0 + size, payloads.count)]) }
  }

  /// Frames with all that stands in them: header, index, envelope of nothing.
  private func measure(
    _ name: String, _ kind: MessageClass, _ frames: [[[UInt8]]], _ report: inout Report, isPromised: Bool = true
  ) throws -> Sizes {
    let packing = FrameCodec(compressor: codec)
    let plainly = FrameCodec(compressor: plain)
    let messages = frames.map { $0.map { FramedMessage(kind: kind, lane: .normal, payload: $0) } }
    var sizes = Sizes()
    var encoded: [[UInt8]] = []
    for frame in messages {
      sizes.raw += frame.reduce(0) { $0 + $1.payload.count }
      sizes.plain += try plainly.encode(frame).count
      encoded.append(try packing.encode(frame))
      sizes.packed += encoded[encoded.count - 1].count
      guard try packing.decode(encoded[encoded.count - 1]) == frame else {
        throw PayloadSource.CorpusError(description: "\(name): a frame came back as another")
      }
    }
    let count = frames.reduce(0) { $0 + $1.count }
    let encode = nanoseconds(rounds: rounds, count: count) {
      for frame in messages { _ = try? packing.encode(frame) }
    }
    let decode = nanoseconds(rounds: rounds, count: count) { for frame in encoded { _ = try? packing.decode(frame) } }
    report.add(
      "10", "\(name), \(sizes.raw / count) B a message",
      baseline: "raw; zstd-3 alone saves \(sizes.savedPlain.text()) %",
      seed: "40–60 %", target: isPromised ? "≥ 60 %" : "",
      measured:
        "\(sizes.saved.text()) %; \(sizes.packed / count) B, \((encode / 1_000).text()) µs to send, \((decode / 1_000).text()) µs to read",
      isMet: isPromised ? sizes.saved >= 60 : nil)
    return sizes
  }

  private let checkpointCount = 20 * 32

  private mutating func checkpoints(_ report: inout Report) throws -> Sizes {
    var sizes = Sizes()
    var (full, deltas, deltaBytes) = (0, 0, 0)
    var encode: [Double] = []
    for _ in 0..<20 {
      let states = source.states(32, reaching: 45_000)
      var frames: [CheckpointFrame] = []
      let time = nanoseconds(rounds: 1, count: 32) { frames = chain(states) }
      encode.append(time)
      let packer = CheckpointPacker(codec: codec)
      let last = try frames.reduce(nil as CheckpointPacker.Snapshot?) { try packer.unpack($1, base: $0) }
      guard last?.state == states[31] else {
        throw PayloadSource.CorpusError(description: "a checkpoint came back as another")
      }
      for (frame, state) in zip(frames, states) {
        let bytes = frame.encoded.count
        sizes.raw += state.count
        sizes.packed += bytes
        sizes.plain += state.withUnsafeBytes { plain.compress($0)?.bytes.count ?? $0.count }
        if frame.kind == .full {
          full += 1
        } else {
          deltas += 1
          deltaBytes += bytes
        }
      }
    }
    report.add(
      "10", "checkpoints of \(sizes.raw / checkpointCount) B, every 16th full",
      baseline: "raw; each full saves \(sizes.savedPlain.text()) %", seed: "40–60 %", target: "≥ 95 %",
      measured:
        "\(sizes.saved.text()) %; \(deltas) against the one before, \(deltaBytes / max(1, deltas)) B each, \(full) full; \((median(encode) / 1_000).text()) µs",
      isMet: sizes.saved >= 95)
    let base = Double(sizes.raw) / Double(checkpointCount)
    report.note(
      "A checkpoint against the one before saves \((100 - 100 * Double(deltaBytes) / Double(max(1, deltas)) / base).text()) %: what is left is the step's own prose, code and signatures."
    )
    return sizes
  }

  /// An agent's checkpoints as they are written.
  private func chain(_ states: [[UInt8]]) -> [CheckpointFrame] {
    let packer = CheckpointPacker(codec: codec)
    var base: CheckpointPacker.Snapshot?
    return states.enumerated().map { number, state in
      let snapshot = CheckpointPacker.Snapshot(base: 0, state: state)
      let packed = packer.pack(snapshot, base: number % CheckpointChain.fullInterval == 0 ? nil : base)
      base = snapshot
      return CheckpointFrame(
        codec: packed.codec, kind: packed.isDelta ? .delta : .full, dictionary: packed.dictionary, epoch: 1,
        step: UInt64(number + 1), parent: .none, inflatedLength: UInt64(state.count + 8), payload: packed.payload)
    }
  }

  private func memory(_ report: inout Report) {
    report.note(
      "Working memory of the codec after all of this: \(codec.idleBytes / 1_000) kB in contexts that are reused.")
  }
}
