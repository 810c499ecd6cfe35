/// The version of all programs, as in CHANGELOG.md.
package let swarmscaleVersion = "0.1.0"
