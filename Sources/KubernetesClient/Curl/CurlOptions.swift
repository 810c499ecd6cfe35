import CCurl
import CCurlShim
import KubernetesCore
import Synchronization

/// Sets options of one easy handle and remembers the first that libcurl refuses.
final class CurlOptions {
  private let handle: UnsafeMutableRawPointer
  /// The first option refused, with libcurl's reason.
  private(set) var failure: (option: CURLoption, code: CURLcode)?

  /// Sets options of `handle`.
  init(handle: UnsafeMutableRawPointer) {
    self.handle = handle
  }

  /// Sets an option that takes a number.
  func set(_ option: CURLoption, _ value: Int) {
    note(option, ccurl_easy_setopt_long(handle, option, value))
  }

  /// Sets an option that takes a number, if libcurl will have it.
  func hint(_ option: CURLoption, _ value: Int) {
    _ = ccurl_easy_setopt_long(handle, option, value)
  }

  /// Sets an option that takes a text.
  func set(_ option: CURLoption, _ value: String?) {
    note(option, ccurl_easy_setopt_string(handle, option, value))
  }

  /// Sets an option that takes a pointer, which must stay valid while the transfer runs.
  func set(_ option: CURLoption, pointer: UnsafeMutableRawPointer?) {
    note(option, ccurl_easy_setopt_pointer(handle, option, pointer))
  }

  /// Sets an option that takes a list, which must stay valid while the transfer runs.
  func set(_ option: CURLoption, list: UnsafeMutablePointer<curl_slist>?) {
    note(option, ccurl_easy_setopt_list(handle, option, list))
  }

  /// Sets an option that takes bytes; libcurl copies them.
  func set(_ option: CURLoption, blob: [UInt8]) {
    note(option, blob.withUnsafeBytes { ccurl_easy_setopt_blob(handle, option, $0.baseAddress, $0.count) })
  }

  /// Sets a function that receives data.
  func set(_ option: CURLoption, _ function: ccurl_data_function) {
    note(option, ccurl_easy_setopt_data_function(handle, option, function))
  }

  /// Sets the request's body; libcurl copies it.
  func setBody(_ body: [UInt8]) {
    note(CURLOPT_COPYPOSTFIELDS, body.withUnsafeBytes { ccurl_easy_setopt_body(handle, $0.baseAddress, $0.count) })
  }

  /// Gives up connections whose data stays unacknowledged for so long.
  func setUserTimeout(milliseconds: UInt32) {
    note(CURLOPT_SOCKOPTFUNCTION, ccurl_easy_setopt_user_timeout(handle, milliseconds))
  }

  private func note(_ option: CURLoption, _ code: CURLcode) {
    if code != CURLE_OK, failure == nil { failure = (option, code) }
  }
}

/// libcurl as a whole.
enum CurlLibrary {
  private static let startCode = curl_global_init(ccurl_global_default)

  /// Sets libcurl up, once in the process.
  static func start() throws {
    guard startCode == CURLE_OK else {
      throw KubernetesError(
        .misconfigured, "libcurl could not be set up: \(String(cString: curl_easy_strerror(startCode))).")
    }
  }

  /// True when libcurl can unpack gzip.
  static let hasCompression = ccurl_has_compression() != 0
}
