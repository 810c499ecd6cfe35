/// The page's files, which stand in the program itself: nothing must be found on a disk.
enum PageAssets {
  /// A file.
  struct Asset: Sendable {
    /// Its media type.
    var type: String
    /// Changes with its text.
    var tag: String
    /// Its text.
    var text: StaticString

    /// Its text as bytes.
    var bytes: [UInt8] {
      Array(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
  }

  /// The file that a path names; nil: none.
  static func asset(at path: String) -> Asset? {
    switch path {
    case "/", "/index.html": index
    case "/app.js": app
    case "/charts.js": charts
    case "/theme.js": theme
    case "/style.css": style
    case "/icon.svg", "/favicon.ico": icon
    default: nil
    }
  }
}
