/// The version of this program, as in CHANGELOG.md.
package let swarmscaleVersion = "0.1.0"
