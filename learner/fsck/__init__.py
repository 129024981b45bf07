"""Whether a run's ledger kept its promises: invariants that can be checked on any ledger, at any time."""
