"""Every error that Pronghorn raises on purpose.

    PronghornError
    ├── ConfigurationError    a person asked for the impossible; exit code 2
    ├── PreflightError        the machine cannot do it (port taken, disk full, path missing); exit code 1
    ├── EnvironmentFault      the environment or the hub broke; the episode is replayed, never scored
    ├── EngineFault           the engine broke; the episode is replayed, never scored
    │   └── EngineDead        the engine is gone for good; its actor ends and is started again
    ├── WeightError           weights are torn, incomplete or of another model; the old version stays
    │   └── SilenceError      who was asked for weights does not answer; somebody else may
    ├── ProtocolError         a peer sent what the wire does not allow; the frame is refused and counted
    ├── LedgerError           the ledger cannot keep its promise; the run stops
    └── CheckpointError       a checkpoint is incomplete or belongs to another model

Blame is assigned once, where the failure crosses a boundary; nobody above re-labels it.
"""


class PronghornError(Exception):
    """The root: its text is one line that a person can act on."""

    exit_code = 1


class ConfigurationError(PronghornError, ValueError):
    """A setting is unknown, of the wrong type or impossible; names field, value and what is allowed."""

    exit_code = 2


class PreflightError(PronghornError):
    """This machine, as it is now, cannot run what was asked."""


class EnvironmentFault(PronghornError):  # noqa: N818 - the field calls it a fault, not an error
    """The environment, its worker or the hub failed; says nothing about the policy."""


class EngineFault(PronghornError):  # noqa: N818
    """The inference engine failed or missed its deadline; says nothing about the policy."""


class EngineDead(EngineFault):
    """The engine's process or thread is gone for good: only a new actor can play on."""


class WeightError(PronghornError):
    """Weights could not be fetched, verified or applied; the engine still holds the previous version."""


class SilenceError(WeightError):
    """Who was asked for weights fell silent, or has made no progress for as long as it is given."""


class ProtocolError(PronghornError):
    """A frame was malformed, of another protocol version, or not allowed from this sender."""


class LedgerError(PronghornError):
    """The ledger refused to record something that would break its promises."""


class CheckpointError(PronghornError):
    """A checkpoint is missing a part, fails its checksum or was written for another model."""
