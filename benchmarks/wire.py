"""What the hub's two wires cost: microseconds to read one batch of steps and to write its answer.

One thread, no network: the bytes of `POST /v1/step` with 64 steps are decoded, then 64 results of ordinary
length are encoded, as the hub does it. The validation of the body is the same on both wires.
"""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.report import Report, parse
from envhub.bodies import BatchBody
from envhub.environment import StepResult
from envhub.wire import CONTENT_TYPES, decode, encode

NUM_STEPS = 64
NUM_ROUNDS = 7
NUM_CALLS = 200

_SESSIONS = [f"m3Xc0zq9ZcS8s7yUu1s{number:03}" for number in range(NUM_STEPS)]
REQUEST = {
    "steps": [
        {"session": session, "index": 3, "action": "craft 4 oak planks using 1 oak logs"}
        for session in _SESSIONS
    ]
}
_RESULT = StepResult(observation="You see a red ball 1 3 steps in front of you. " * 6).model_dump()
ANSWER = {"results": [{"session": session, **_RESULT} for session in _SESSIONS]}


def microseconds(call: Callable[[], Any]) -> float:
    """The time of one call: the shortest mean of several rounds, the one that the machine disturbed least."""
    means = []
    for _ in range(NUM_ROUNDS):
        began = time.perf_counter()
        for _ in range(NUM_CALLS):
            call()
        means.append((time.perf_counter() - began) / NUM_CALLS)
    return min(means) * 1e6


def measure(report: Report, wire: str, content_type: str) -> float:
    """Add the figures of one wire; what reading and writing cost together."""
    body = encode(REQUEST, content_type)
    reading = microseconds(lambda: decode(body, content_type))
    writing = microseconds(lambda: encode(ANSWER, content_type))
    report.add(f"wire_{wire}_read_us", reading, "us")
    report.add(f"wire_{wire}_write_us", writing, "us")
    report.add(f"wire_{wire}_answer_bytes", len(encode(ANSWER, content_type)), "bytes")
    return reading + writing


def main() -> None:
    """Measure both wires and print how many times cheaper MessagePack is."""
    arguments = parse(__doc__)
    report = Report(f"one batch of {NUM_STEPS} steps on the wire")
    costs = {wire: measure(report, wire, content_type) for wire, content_type in CONTENT_TYPES.items()}
    report.add("wire_validation_us", microseconds(lambda: BatchBody.model_validate(REQUEST)), "us")
    report.add("wire_json_over_msgpack", costs["json"] / costs["msgpack"], "times", at_least=1.0)
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
