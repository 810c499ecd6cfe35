import ArgumentParser
import ControllerCommand
import Testing

/// Where the controller's certificate comes from, by its flags.
@Suite struct CertificateOptionsTests {
  @Test(
    "a folder of certificates stands in for the controller's own, wherever a server shows one",
    arguments: [
      ["--webhook-listen", "0.0.0.0:9443"], ["--coordinator-listen", "0.0.0.0:8443"],
      ["--external-metrics-listen", "0.0.0.0:9444"], ["--keda-listen", "0.0.0.0:9445", "--keda-tls"],
    ])
  func folder(server: [String]) throws {
    #expect(try ControllerOptions.parse(server).keepsCertificates)
    #expect(try !ControllerOptions.parse(server + ["--certificate-folder", "/tls"]).keepsCertificates)
  }

  @Test(
    "a folder that nobody would look at is refused, with what is missing",
    arguments: [
      [], ["--coordinator-listen", "127.0.0.1:8443"],
      ["--webhook-listen", "0.0.0.0:9443", "--webhook-certificate", "c", "--webhook-key", "k"],
    ])
  func nobodyLooks(flags: [String]) throws {
    #expect(throws: (any Error).self) { try ControllerOptions.parse(flags + ["--certificate-folder", "/tls"]) }
    #expect(try !ControllerOptions.parse(flags).keepsCertificates)
  }

  @Test("a name for certificates that are made elsewhere is refused")
  func name() {
    let flags = ["--webhook-listen", "0.0.0.0:9443", "--certificate-name", "other"]
    #expect(throws: Never.self) { try ControllerOptions.parse(flags) }
    #expect(throws: (any Error).self) { try ControllerOptions.parse(flags + ["--certificate-folder", "/tls"]) }
  }
}
