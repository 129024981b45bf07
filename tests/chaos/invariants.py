"""What must be true of a run after whatever was done to it."""

import hashlib
from operator import itemgetter
from pathlib import Path

from safetensors import deserialize

from common.run_directory import RunDirectory
from common.trajectory import Group, Trajectory
from common.weights.store import store_directory
from learner.fsck.examine import examine
from learner.ledger_reader import LedgerReader
from tests.chaos.system import System


def parameters(folder: RunDirectory) -> dict[str, str]:
    """Checksums of the tensors of the final model and of the last checkpoint, optimizer state included."""
    last = max(folder.checkpoints.glob("step-*"))
    files = [folder.final_model / "model.safetensors", *sorted(last.glob("*.safetensors"))]
    return {file.name: _tensors(file) for file in files}


def _tensors(file: Path) -> str:
    """Not of the whole file: safetensors writes the entries of a header's metadata in any order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(deserialize(file.read_bytes()), key=itemgetter(0)):
        digest.update(f"{name} {tensor['dtype']} {tensor['shape']}".encode())
        digest.update(tensor["data"])
    return digest.hexdigest()


def trained(folder: RunDirectory) -> dict[int, list[str]]:
    """What every step trained on: group, task, horizon and digests of its episodes, in order."""
    with LedgerReader(folder.ledger) as reader:
        return {
            step.step: [_told(reader.group(group)[0]) for group in step.groups] for step in reader.steps()
        }


def _told(group: Group) -> str:
    digests = [_digest(trajectory) for trajectory in group.trajectories]
    return f"group {group.group}, {group.task}, horizon {group.horizon}: {digests}"


def _digest(trajectory: Trajectory) -> str:
    """Of what is trained on: who played it, when and at which attempt aside."""
    digest = hashlib.blake2b(f"{trajectory.outcome} {trajectory.score}".encode(), digest_size=4)
    for turn in trajectory.turns:
        digest.update(f"{turn.reward} {turn.versions} {turn.is_stopped}".encode())
        for array in (turn.prompt_tokens, turn.action_tokens, turn.behaviour_logprobs):
            digest.update(array.tobytes())
    return digest.hexdigest()


async def broken(system: System, undisturbed: System) -> list[str]:
    """One line for every invariant that does not hold; empty when nothing was lost or repeated."""
    found = []
    if not await system.is_gone():
        found.append(f"processes are left: {[p.pid for p in system.leftovers()]}")
    if (store := store_directory(system.folder.path)).exists():
        found.append(f"left in shared memory: {store}")
    mine, theirs = trained(system.folder), trained(undisturbed.folder)
    for step in sorted(mine.keys() | theirs.keys()):
        if mine.get(step) != theirs.get(step):
            found.append(f"step {step} trained on {mine.get(step)}, undisturbed on {theirs.get(step)}")
            break  # what follows from it is no news
    if parameters(system.folder) != parameters(undisturbed.folder):
        found.append(f"other final parameters: {parameters(system.folder)}")
    return found + list(examine(system.folder).violations)
