#!/usr/bin/env bash
# Makes the certificates of the transport's tests with the openssl command.
set -euo pipefail

if [[ $# -ne 1 || $1 == --help ]]; then
  echo "usage: make_certificates.sh FOLDER   writes ca.crt, other-ca.crt, server.pem, client{,2}.{crt,key} into FOLDER" >&2
  exit 2
fi
cd "$1"

authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
    -keyout "$1.key" -out "$1.crt" 2>/dev/null
}

leaf() { # NAME SUBJECT EXTENSIONS
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile <(printf '%s\n' "$3") \
    -out "$1.crt" 2>/dev/null
}

authority ca
authority other-ca
leaf server CN=server "subjectAltName=IP:127.0.0.1,DNS:kubernetes.default.svc"
leaf named CN=named "subjectAltName=DNS:kubernetes.default.svc"
leaf client CN=alice "extendedKeyUsage=clientAuth"
leaf client2 CN=bob "extendedKeyUsage=clientAuth"
cat server.crt server.key > server.pem
cat named.crt named.key > named.pem
