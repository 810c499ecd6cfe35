import HPAReference
import Testing

@Suite struct HPALabelSelectorTests {
  @Test(
    "a selector matches the labels it describes",
    arguments: [
      ("app=x", true), ("app==x", true), (" app = x ", true), ("app=y", false), ("app!=y", true), ("app!=x", false),
      ("app in (x,y)", true), ("app in (y)", false), ("app notin (y,z)", true), ("missing notin (y)", true),
      ("app", true),
      ("!app", false), ("!missing", true), ("missing", false), ("app=x,tier=2", true), ("app=x,tier=3", false),
      ("tier>1", true), ("tier>2", false), ("tier<3", true), ("app>1", false), ("missing=", false), ("empty=", true),
      ("empty in (,x)", true), ("example.org/kind=worker", true), ("in in (x)", false), ("", true),
    ])
  func matching(text: String, expected: Bool) throws {
    let labels = ["app": "x", "tier": "2", "empty": "", "example.org/kind": "worker"]
    #expect(try HPALabelSelector(text).matches(labels) == expected)
  }

  @Test(
    "a text that is no selector is refused",
    arguments: [
      "cheddar cheese", "app=x y", ",app=x", "app=x,", "app in x", "app in ()", "app in (x", "app in (x y)", "=x", "!",
      "app=x=y", "-app=x", "app=é", "a/b/c=x", "/a=x", "tier>x", "app=(x)",
    ])
  func refused(text: String) {
    #expect(throws: HPASelectorError.self) { try HPALabelSelector(text) }
  }
}
