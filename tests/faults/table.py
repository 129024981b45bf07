"""Every fault of the list in one place: what AgentGym-RL does, where that would live here, who notices.

Not here, because it cannot be put back: that the release has no tests; that HDFS paths are refused by an
error which is made and not raised (there is one kind of path here); that SearchQA tells a wrong answer to try
again (that environment is not among ours).
"""

from tests.faults import of_algorithms, of_episodes, of_runs

FAULTS = (*of_algorithms.FAULTS, *of_episodes.FAULTS, *of_runs.FAULTS)
