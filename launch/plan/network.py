"""How long a version of the weights travels to each host."""


def transfer_s(host: int, num_hosts: int, *, num_bytes: float, bytes_per_s: float, fanout: int) -> float:
    """Seconds until the relay of `host` (from 0) holds a version, when hosts form a tree under the learner.

    Whoever serves several relays shares its bandwidth among them, and a relay serves on when it has all:
    each hop takes children * bytes / bandwidth. Hosts are numbered level by level, the first `fanout` of
    them under the learner. Zero where nothing travels (`bytes_per_s` = 0).
    """
    if not bytes_per_s:
        return 0.0
    seconds, node = 0.0, host
    while node >= 0:
        parent = node // fanout - 1
        first = (parent + 1) * fanout
        children = min(fanout, num_hosts - first)
        seconds += children * num_bytes / bytes_per_s
        node = parent
    return seconds
