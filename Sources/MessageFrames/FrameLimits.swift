/// What a decoder takes, and so what an encoder may make.
package struct FrameLimits: Hashable, Sendable {
  /// Messages in a frame.
  package var messages: Int
  /// Bytes of a frame as it travels. NATS refuses more than 1 MiB unless told otherwise, and its makers advise at most 8.
  package var storedBytes: Int
  /// Bytes of all messages of a frame once it is inflated.
  package var inflatedBytes: Int
  /// Bytes of a message, by the raw value of its class.
  private var classBytes: [Int]

  /// 1,024 messages, 1 MiB stored, 4 MiB inflated; 64 KiB for the layer's own messages and heartbeats, 1 MiB for tasks, tool
  /// calls and messages, 4 MiB for results and states: what is larger belongs in the blob store.
  package init(messages: Int = 1_024, storedBytes: Int = 1 << 20, inflatedBytes: Int = 4 << 20) {
    // The count travels in 16 bits, lengths in 32.
    self.messages = min(max(1, messages), Int(UInt16.max))
    self.storedBytes = min(max(FrameHeader.size, storedBytes), Int(Int32.max))
    self.inflatedBytes = min(max(0, inflatedBytes), Int(Int32.max))
    classBytes = MessageClass.allCases.map { kind in
      switch kind {
      case .control, .heartbeat: 64 << 10
      case .task, .toolCall, .message: 1 << 20
      case .result, .state: 4 << 20
      }
    }
  }

  /// The most bytes of a message of a class.
  package subscript(kind: MessageClass) -> Int {
    get { classBytes[Int(kind.rawValue)] }
    set { classBytes[Int(kind.rawValue)] = min(max(0, newValue), Int(Int32.max)) }
  }
}
