"""Throw-away Kubernetes clusters on one machine, for tests and by hand. Standard library only."""
