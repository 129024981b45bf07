"""An engine's own counters."""

from actors.engine.meter import LoadMeter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_busy_seconds_are_those_with_at_least_one_request() -> None:
    clock = Clock()
    meter = LoadMeter(max_num_seqs=8, clock=clock)
    clock.now += 5
    with meter.request():
        clock.now += 1
        with meter.request():
            clock.now += 2
        assert meter.load().generation_s == 3
    clock.now += 7
    with meter.request():
        clock.now += 1
    assert meter.load().generation_s == 4


def test_requests_beyond_the_batch_are_waiting() -> None:
    meter = LoadMeter(max_num_seqs=1)
    with meter.request(), meter.request(), meter.request():
        assert (meter.load().num_running, meter.load().num_waiting) == (1, 2)
    assert (meter.load().num_running, meter.load().num_waiting) == (0, 0)


def test_tokens_and_pauses_add_up() -> None:
    clock = Clock()
    meter = LoadMeter(max_num_seqs=8, clock=clock)
    for num_tokens in (3, 4):
        meter.generated(num_tokens)
        with meter.pause():
            clock.now += 0.5
    assert (meter.load().generated_tokens, meter.load().paused_s) == (7, 1.0)
