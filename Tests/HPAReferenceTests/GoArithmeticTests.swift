import HPAReference
import Testing

@Suite struct GoArithmeticTests {
  @Test(
    "a double becomes an int32 as CVTTSD2SL does it",
    arguments: [
      (1.9, 1), (-1.9, -1), (2_147_483_647.9, .max), (2_147_483_648, .min), (-2_147_483_648.5, .min),
      (.infinity, .min), (-.infinity, .min), (.nan, .min),
    ] as [(Double, Int32)])
  func int32(value: Double, expected: Int32) {
    #expect(GoArithmetic.int32(value) == expected)
  }

  @Test(
    "a double becomes an int64 as CVTTSD2SQ does it",
    arguments: [
      (334.0, 334), (-0.5, 0), (9_223_372_036_854_774_784, 9_223_372_036_854_774_784),
      (9_223_372_036_854_775_808, .min), (.infinity, .min), (.nan, .min),
    ] as [(Double, Int64)])
  func int64(value: Double, expected: Int64) {
    #expect(GoArithmetic.int64(value) == expected)
  }

  @Test("the smallest integer divided by -1 is itself, and division truncates towards zero")
  func quotient() {
    #expect(GoArithmetic.quotient(.min, by: -1) == .min)
    #expect(GoArithmetic.quotient(-7, by: 2) == -3)
    #expect(GoArithmetic.quotient(7, by: 2) == 3)
  }
}
