/// The status code and header fields of a response.
package struct APIResponseHead: Hashable, Sendable {
  /// The HTTP status code.
  package var status: Int
  /// Header fields in the order received.
  package var headers: [APIRequest.HeaderField]

  /// Makes a response head.
  package init(status: Int, headers: [APIRequest.HeaderField] = []) {
    self.status = status
    self.headers = headers
  }

  /// The value of the first field called `name`, compared without regard to ASCII case.
  package func header(_ name: String) -> String? {
    headers.first { field in
      field.name.utf8.count == name.utf8.count
        && zip(field.name.utf8, name.utf8).allSatisfy { asciiLowercased($0) == asciiLowercased($1) }
    }?.value
  }
}

/// A whole response: head and collected body.
package struct APIResponse: Hashable, Sendable {
  /// Status code and header fields.
  package var head: APIResponseHead
  /// The collected body.
  package var body: [UInt8]

  /// Makes a response.
  package init(head: APIResponseHead, body: [UInt8] = []) {
    self.head = head
    self.body = body
  }
}

/// The body of a streamed response, chunk by chunk as it arrives; it ends when the server ends the body.
///
/// For one consumer. It throws `KubernetesError` (or `CancellationError`) when the connection fails.
package struct APIByteStream: AsyncSequence, Sendable {
  package typealias Element = [UInt8]

  /// Asks for the next chunk; nil at the end of the body.
  private let pull: @Sendable () async throws -> [UInt8]?

  /// Makes a stream from a function that gives the next chunk, or nil at the end.
  package init(_ pull: @escaping @Sendable () async throws -> [UInt8]?) {
    self.pull = pull
  }

  package struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let pull: @Sendable () async throws -> [UInt8]?

    package mutating func next() async throws -> [UInt8]? { try await pull() }
  }

  package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(pull: pull) }
}

private func asciiLowercased(_ byte: UInt8) -> UInt8 {
  byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
}
