/// `text` with each byte of its UTF-8 form that `keeping` rejects written as `%XX`.
func percentEncoded(_ text: String, keeping isKept: (UInt8) -> Bool) -> String {
  let digits = Array("0123456789ABCDEF".utf8)
  var bytes: [UInt8] = []
  for byte in text.utf8 {
    if isKept(byte) {
      bytes.append(byte)
    } else {
      bytes += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }
  }
  return String(decoding: bytes, as: UTF8.self)
}

/// True for RFC 3986's unreserved characters: those that a query's names and values may hold as they are.
func isUnreservedByte(_ byte: UInt8) -> Bool {
  isAlphanumeric(byte) || byte == 0x2D || byte == 0x2E || byte == 0x5F || byte == 0x7E
}

/// True for the characters that a header field's name may hold and that need no encoding in `Impersonate-Extra-…`.
func isHeaderTokenByte(_ byte: UInt8) -> Bool {
  isAlphanumeric(byte) || (byte != 0x25 && "!#$&'*+-.^_`|~".utf8.contains(byte))
}

private func isAlphanumeric(_ byte: UInt8) -> Bool {
  (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
}

/// `text` without the spaces, tabs and line ends around it.
package func trimmedASCIIWhitespace(_ text: some StringProtocol) -> String {
  func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
  let bytes = Array(text.utf8)
  guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) })
  else { return "" }
  return String(decoding: bytes[first...last], as: UTF8.self)
}

/// `bytes` in base64 (RFC 4648, with padding).
func base64Encoded(_ bytes: some Sequence<UInt8>) -> String {
  let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  let input = Array(bytes)
  var output: [UInt8] = []
  var index = 0
  while index < input.count {
    let rest = min(3, input.count - index)
    var group = UInt32(input[index]) << 16
    if rest > 1 { group |= UInt32(input[index + 1]) << 8 }
    if rest > 2 { group |= UInt32(input[index + 2]) }
    output.append(alphabet[Int(group >> 18 & 63)])
    output.append(alphabet[Int(group >> 12 & 63)])
    output.append(rest > 1 ? alphabet[Int(group >> 6 & 63)] : 0x3D)
    output.append(rest > 2 ? alphabet[Int(group & 63)] : 0x3D)
    index += 3
  }
  return String(decoding: output, as: UTF8.self)
}
