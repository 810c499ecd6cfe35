/// Why a text can't be read as YAML, or not further than to a place.
///
/// It quotes nothing of the text, which may hold secrets, but names that stand twice.
package struct YAMLError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The line, from 1.
  package var line: Int
  /// The column, from 1; nil when the whole line is meant.
  package var column: Int?
  /// What is wrong.
  package var problem: String

  /// Makes an error.
  package init(line: Int, column: Int? = nil, problem: String) {
    self.line = line
    self.column = column
    self.problem = problem
  }

  package var description: String {
    "\(problem) at line \(line)\(column.map { ", column \($0)" } ?? "")"
  }
}
