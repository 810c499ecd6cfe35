"""A TLS proxy in front of the API server that misbehaves as told."""
