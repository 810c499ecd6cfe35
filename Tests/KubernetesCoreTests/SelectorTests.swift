import KubernetesCore
import Testing

@Suite("Selector")
struct SelectorTests {
  @Test(
    "Texts in kubectl's grammar print canonically",
    arguments: [
      ("", ""), ("  ", ""), ("a=b", "a=b"), ("a==b", "a=b"), (" a = b ", "a=b"), ("a!=b", "a!=b"), ("a", "a"),
      ("!a", "!a"), ("! a", "!a"), ("a in (c, b,b)", "a in (b,c)"), ("a notin (x)", "a notin (x)"),
      ("a in (b)", "a in (b)"),
      ("z=1,a=2", "a=2,z=1"), ("a=", "a="), ("a=,b", "a=,b"), ("a in (,b)", "a in (,b)"), ("a>1", "a>1"),
      ("a < 10", "a<10"), ("example.com/app=web", "example.com/app=web"), ("a=in", "a=in"), ("in in (a)", "in in (a)"),
      ("x in (in,notin)", "x in (in,notin)"),
    ])
  func parses(_ text: String, _ canonical: String) throws {
    let selector = try Selector(text)
    #expect(selector.description == canonical)
    #expect(try Selector(selector.description) == selector)
    #expect(selector.isEmpty == canonical.isEmpty)
  }

  @Test(
    "Other texts are refused",
    arguments: [
      ",", "a,", ",a", "a=b,,c", "a in b", "a in (b", "a in b)", "a b", "=b", "!", "!a=b", "a=b=c", "a>x", "a>", "a!b",
      "a in (b c)", "-a", "a=-b", "a/b/c=d", "UPPER.com/a", "a=b;c", "(a)", "a===b",
    ])
  func refuses(_ text: String) {
    #expect(throws: SelectorError.self) { try Selector(text) }
  }

  @Test(
    "Matching follows the API server",
    arguments: [
      ("", true), ("app=web", true), ("app=db", false), ("app!=db", true), ("app!=web", false), ("none!=x", true),
      ("app in (web,db)", true), ("app notin (web)", false), ("none notin (a)", true), ("none in (a)", false),
      ("app", true), ("!app", false), ("!none", true), ("n>4", true), ("n>5", false), ("n<6", true), ("n<5", false),
      ("app>1", false), ("none>1", false), ("empty=", true), ("none=", false), ("app=web,n=5", true),
      ("app=web,n=6", false),
    ])
  func matches(_ text: String, _ expected: Bool) throws {
    #expect(try Selector(text).matches(["app": "web", "n": "5", "empty": ""]) == expected)
  }

  @Test("A structured selector becomes the same text each time")
  func convertsLabelSelector() throws {
    let json = """
      {"matchLabels":{"b":"2","a":"1"},"matchExpressions":[{"key":"c","operator":"In","values":["y","x"]},
      {"key":"d","operator":"Exists"},{"key":"e","operator":"DoesNotExist","values":null},
      {"key":"f","operator":"NotIn","values":["z"]}]}
      """
    let labelSelector = try KubernetesJSON.decode(LabelSelector.self, from: Array(json.utf8))
    #expect(try Selector(labelSelector).description == "a=1,b=2,c in (x,y),d,!e,f notin (z)")
    #expect(try KubernetesJSON.decode(LabelSelector.self, from: KubernetesJSON.encode(labelSelector)) == labelSelector)
    #expect(try Selector(LabelSelector()).isEmpty)
  }

  @Test("A structured selector with a wrong operator or no values is refused")
  func refusesLabelSelector() {
    #expect(throws: SelectorError.self) {
      try Selector(LabelSelector(matchExpressions: [.init(key: "a", operator: "in", values: ["b"])]))
    }
    #expect(throws: SelectorError.self) {
      try Selector(LabelSelector(matchExpressions: [.init(key: "a", operator: "In")]))
    }
    #expect(throws: SelectorError.self) {
      try Selector(LabelSelector(matchExpressions: [.init(key: "a", operator: "Exists", values: ["b"])]))
    }
  }
}
