"""Environments of other ecosystems by short adapters: Gymnasium, OpenEnv, verifiers."""
