import NIOCore
import RateBudget
import Synchronization

/// Measures one answer as it passes, and settles its grant.
///
/// Whatever way the answer ends, `finish` settles: with what upstream reported when it came to its end, with what was
/// delivered when it was cut. Each call after the first changes nothing.
package final class ResponseMeter: Sendable {
  /// Output tokens after which the budget is told how far a stream is.
  static let step: Int64 = 64

  private struct State {
    var events = EventStreamReader()
    var answer: JSONFieldScanner?
    var accumulator = UsageAccumulator()
    var hour: Int64?
    var told = Usage()
    var isComplete = false
    var isFinished = false
  }

  private let state: Mutex<State>
  private let isEventStream: Bool
  private let onProgress: @Sendable (Usage) -> Void
  private let onFinish: @Sendable (Usage, _ isComplete: Bool) -> Void

  /// Makes a meter for a stream of events, or for one JSON answer.
  init(
    isEventStream: Bool, onProgress: @escaping @Sendable (Usage) -> Void,
    onFinish: @escaping @Sendable (Usage, _ isComplete: Bool) -> Void
  ) {
    self.isEventStream = isEventStream
    self.onProgress = onProgress
    self.onFinish = onFinish
    var state = State()
    if !isEventStream { state.answer = UsageFields.eventScanner }
    self.state = Mutex(state)
  }

  /// Takes in a piece of the answer before it goes to the client.
  func take(_ chunk: ByteBuffer) {
    let progress = state.withLock { state -> Usage? in
      chunk.withUnsafeReadableBytes { bytes in
        if isEventStream {
          var events: [EventStreamReader.Event] = []
          state.events.take(bytes) { events.append($0) }
          for event in events { Self.note(event, in: &state) }
        } else {
          state.answer?.scan(bytes)
        }
      }
      return isEventStream ? Self.progress(&state) : nil
    }
    if let progress { onProgress(progress) }
  }

  /// Notes that upstream's answer is over.
  func end() {
    state.withLock { state in
      guard let answer = state.answer else { return }
      if let usage = UsageFields.usage(answer.values) { Self.fold(usage, into: &state) }
      state.isComplete = answer.isComplete
    }
  }

  /// Settles, once.
  func finish() {
    let usage = state.withLock { state -> (Usage, Bool)? in
      if state.isFinished { return nil }
      state.isFinished = true
      let accumulator = state.accumulator
      return (state.isComplete ? accumulator.reported : accumulator.usage, state.isComplete)
    }
    if let usage { onFinish(usage.0, usage.1) }
  }

  private static func note(_ event: EventStreamReader.Event, in state: inout State) {
    if let usage = event.usage { fold(usage, into: &state) }
    state.accumulator.deliver(characters: event.characters)
    if event.type == "message_stop" { state.isComplete = true }
  }

  /// A later report that doesn't tell the two kinds of cache writes apart contains both.
  private static func fold(_ report: Usage, into state: inout State) {
    var report = report
    if report.cacheCreationHour == nil, let hour = state.hour {
      report.cacheCreation = report.cacheCreation.map { max(0, $0 - hour) }
    }
    state.hour = report.cacheCreationHour ?? state.hour
    state.accumulator.fold(report)
  }

  /// The usage if it is worth telling: the input side has changed, or the output has grown by a step.
  private static func progress(_ state: inout State) -> Usage? {
    let usage = state.accumulator.usage
    let isNews =
      usage.chargedInput != state.told.chargedInput
      || (usage.output ?? 0) >= (state.told.output ?? 0) + step
    guard isNews else { return nil }
    state.told = usage
    return usage
  }
}
