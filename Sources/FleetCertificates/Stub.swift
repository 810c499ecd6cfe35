import Crypto
import NIOCertificateReloading
import NIOSSL
import SwiftASN1
import X509
struct Stub {}
