import KubernetesCore
import Testing

@Suite("Packed UIDs")
struct PackedUIDTests {
  @Test(
    "Every text comes back as it was",
    arguments: [
      "0f8fad5b-d9cb-469f-a165-70867728950e", "00000000-0000-0000-0000-000000000000",
      "ffffffff-ffff-ffff-ffff-ffffffffffff", "0123456789abcdef0123456789abcdef", "",
      "0F8FAD5B-D9CB-469F-A165-70867728950E", "0f8fad5b-d9cb-469f-a165-70867728950g",
      "0f8fad5bd-9cb-469f-a165-70867728950e", "pod-of-a-test", "é8fad5b-d9cb-469f-a165-70867728950e",
    ])
  func roundTrip(text: String) {
    #expect(PackedUID(text).text == text)
    #expect(PackedUID(text) == PackedUID(text))
    #expect(PackedUID(text) != PackedUID(text + "0"))
  }

  @Test("Each digit has its place")
  func digits() {
    let zero = "00000000-0000-0000-0000-000000000000"
    for index in zero.indices where zero[index] != "-" {
      let changed = zero.replacingCharacters(index, with: "c")
      #expect(PackedUID(changed).text == changed)
    }
  }
}

extension String {
  fileprivate func replacingCharacters(_ index: Index, with character: Character) -> String {
    self[..<index] + String(character) + self[self.index(after: index)...]
  }
}
