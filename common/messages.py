"""Every message on the bus, with its sender and receiver. Decoded means validated.

ledger channel    actor -> learner:  Hello, Ready, Submit, Heartbeat, Fault, Goodbye
                  learner -> actor:  Welcome, Grant, Ack, Cancel, Stop, Refusal
policy channel    learner -> actors: PolicyAnnouncement
weights channel   actor, relay -> learner, relay:  ChunkRequest
                  learner, relay -> actor, relay:  Chunk, NotYet, Refusal
"""

from typing import Literal

from pydantic import Field, model_validator

from common.trajectory import Member, Record, TaskReference, Trajectory
from common.version import PROTOCOL_VERSION


class Sampling(Record):
    """How the policy is sampled; part of the behaviour policy, so it travels with every lease."""

    temperature: float = Field(default=1.0, ge=0)
    """0: greedy, always the likeliest token; for evaluation alone."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0: all tokens."""
    max_action_tokens: int = Field(default=64, ge=1)
    """The most tokens one action may take; cut there, `is_stopped` is False."""
    max_episode_tokens: int = Field(default=2048, ge=2)
    """The most tokens one trajectory may take, read and sampled."""


class Lease(Record):
    """The learner's permission to play one member of one group, at one horizon."""

    identity: Member
    task: TaskReference
    horizon: int = Field(ge=1)
    sampling: Sampling
    purpose: Literal["training", "evaluation"] = "training"
    min_version: int = Field(default=0, ge=0)
    """The episode begins only when the engine holds this policy version or a newer one."""
    granted_at: float = 0.0

    @model_validator(mode="after")
    def _training_samples(self) -> "Lease":
        if self.purpose == "training" and self.sampling.temperature == 0:
            raise ValueError("temperature = 0: what is played greedily has no importance ratio to train on")
        return self


class Hello(Record):
    """actor -> learner, first: who I am and which wire I speak."""

    kind: Literal["hello"] = "hello"
    actor: str = Field(min_length=1, max_length=200)
    protocol_version: int = PROTOCOL_VERSION
    run: str = ""
    """The run that the actor believes it belongs to; empty: whichever this is."""


class Welcome(Record):
    """learner -> actor: accepted; the run that this is and how often to be heard."""

    kind: Literal["welcome"] = "welcome"
    run: str
    heartbeat_s: float = Field(gt=0)


class Ready(Record):
    """actor -> learner: grant me up to this many more leases."""

    kind: Literal["ready"] = "ready"
    credits: int = Field(ge=0, le=100_000)
    is_first: bool = False
    """The first since the learner's Welcome, and all that there is: what was said before is void."""


class Submit(Record):
    """actor -> learner: the record of a lease; sent again until acknowledged."""

    kind: Literal["submit"] = "submit"
    trajectory: Trajectory


class Fault(Record):
    """actor -> learner: this lease could not be played, for a reason outside the policy; grant it again."""

    kind: Literal["fault"] = "fault"
    identity: Member
    reason: str = Field(max_length=4000)


class Heartbeat(Record):
    """actor -> learner: alive; what the engine and the sessions do, for the dashboards."""

    kind: Literal["heartbeat"] = "heartbeat"
    policy_version: int = Field(ge=0)
    num_sessions: int = Field(ge=0)
    """Episodes in play."""
    num_running: int = Field(default=0, ge=0)
    """Requests that the engine is generating for."""
    num_waiting: int = Field(default=0, ge=0)
    """Requests that wait inside the engine."""
    generated_tokens: int = Field(default=0, ge=0)
    """Since the actor started."""
    generation_s: float = Field(default=0.0, ge=0)
    """Seconds since the start in which at least one request was in the engine."""
    paused_s: float = Field(default=0.0, ge=0)
    """Seconds since the start in which generation stood still for a weight update."""
    weight_sync_s: float = Field(default=0.0, ge=0)
    """Seconds the last weight update took, announcement to resumed generation."""
    first_token_s: float = Field(default=0.0, ge=0)
    """Seconds from the last announcement's publication to an engine that samples with it."""
    unacknowledged: int = Field(default=0, ge=0)
    """Trajectories submitted and not yet acknowledged."""
    asked: int | None = Field(default=None, ge=0)
    """All leases asked for since the last Ready with `is_first`, that one included; None: not told."""
    held: tuple[tuple[int, int], ...] = Field(default=(), fail_fast=True)
    """(group, member) of every lease in play or submitted and not yet acknowledged."""


class Goodbye(Record):
    """actor -> learner: leaving in good order; my leases may go to others."""

    kind: Literal["goodbye"] = "goodbye"


class Grant(Record):
    """learner -> actor: play this."""

    kind: Literal["grant"] = "grant"
    lease: Lease


class Ack(Record):
    """learner -> actor: this trajectory is durably committed (or was already); forget it."""

    kind: Literal["ack"] = "ack"
    identity: Member
    is_duplicate: bool = False


class Cancel(Record):
    """learner -> actor: stop playing this lease; nobody will use it."""

    kind: Literal["cancel"] = "cancel"
    identity: Member


class Stop(Record):
    """learner -> actor: the run is over; submit nothing more and leave."""

    kind: Literal["stop"] = "stop"
    reason: str = ""


class Refusal(Record):
    """learner -> actor: what you sent was refused, and why; nothing changed."""

    kind: Literal["refusal"] = "refusal"
    reason: str


class TensorEntry(Record):
    """One tensor of a manifest: where its bytes lie in the payload and what they must hash to."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "bfloat16", "float16"]
    offset: int = Field(ge=0)
    num_bytes: int = Field(ge=0)
    checksum: int = Field(ge=0)
    """xxh3-64 of the bytes."""


class AdapterProbe(Record):
    """What the learner says of one made-up context, so that an engine can see whether it says the same."""

    tokens: tuple[int, ...]
    """The context."""
    candidates: tuple[int, ...]
    """Tokens that might follow."""
    base: tuple[float, ...]
    """log pi(candidate | tokens) of the base model, nats."""
    adapted: tuple[float, ...]
    """The same with the adapter."""


class AdapterEntry(Record):
    """The tensors of a manifest are a low-rank adapter: W + (alpha / rank) B A, see `weights/adapter.py`."""

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    targets: tuple[str, ...]
    """The last part of the names of the adapted layers."""
    base: str
    """Fingerprint of the model that W is of."""
    probe: AdapterProbe | None = None
    """None: an engine has nothing to compare itself with."""


class WeightManifest(Record):
    """What a weight version consists of, and where the learner's host keeps it."""

    version: int = Field(ge=0)
    tensors: tuple[TensorEntry, ...] = Field(fail_fast=True)
    num_bytes: int = Field(ge=0)
    """Of the payload: all tensors, laid end to end at their offsets."""
    host: str
    """Identity of the host (and boot) that holds `path`; others fetch the bytes over the weights channel."""
    path: str
    """A safetensors file in host shared memory, complete before it is announced."""
    adapter: AdapterEntry | None = None
    """None: the tensors are the whole model."""


class PolicyAnnouncement(Record):
    """learner -> actors: the newest policy; the newest wins, a late joiner gets it at once."""

    kind: Literal["policy"] = "policy"
    version: int = Field(ge=0)
    horizon: int = Field(ge=1)
    sampling: Sampling
    manifest: WeightManifest | None = None
    """None while the actors' initial weights are the policy (version 0 loaded from the model path)."""
    published_at: float = 0.0
    """Seconds since the epoch, at the end of the optimizer step that made this version."""


class ChunkRequest(Record):
    """To the learner or a relay, weights channel: send these bytes of this version. A request is a credit."""

    kind: Literal["chunk_request"] = "chunk_request"
    version: int = Field(ge=0)
    offset: int = Field(ge=0, lt=1 << 63)
    """No file is longer."""
    num_bytes: int = Field(ge=1)
    digest: int | None = Field(default=None, ge=0)
    """Of the version's contents, see `weights/manifest.py`; None: whatever is held of that number."""
    base: int | None = Field(default=None, ge=0)
    """None: of the version's own file; else of the delta that makes it of this version."""
    base_digest: int = Field(default=0, ge=0)
    """Of the contents of `base`."""


class Chunk(Record):
    """To who asked, weights channel: the bytes asked for; shorter only at the end of the file."""

    kind: Literal["chunk"] = "chunk"
    version: int
    offset: int
    file_bytes: int
    """Size of the whole file."""
    payload: bytes


class NotYet(Record):
    """To who asked, weights channel: what you ask for is being fetched or made here; ask again."""

    kind: Literal["not_yet"] = "not_yet"
    version: int
    progress: int = 0
    """Grows while there is progress."""


FromActor = Hello | Ready | Submit | Fault | Heartbeat | Goodbye
FromLearner = Welcome | Grant | Ack | Cancel | Stop | Refusal
OnWeights = ChunkRequest | Chunk | NotYet | Refusal
Message = FromActor | FromLearner | PolicyAnnouncement | ChunkRequest | Chunk | NotYet
