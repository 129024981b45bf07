"""A relay, on a host that plays but does not learn: it fetches each version once, for all there."""
