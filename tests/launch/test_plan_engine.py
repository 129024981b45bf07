"""The engine of the model: shared by its requests, exactly as solved by hand."""

import random
from statistics import fmean

import pytest
import simpy

from launch.plan.costs import Costs
from launch.plan.engine import SharedEngine
from launch.plan.network import transfer_s


def finished(env: simpy.Environment, event: simpy.Event) -> list[float]:
    """Gets the time at which `event` happens."""
    times: list[float] = []
    assert event.callbacks is not None
    event.callbacks.append(lambda _: times.append(env.now))
    return times


def test_requests_that_run_together_slow_each_other_down() -> None:
    env = simpy.Environment()
    engine = SharedEngine(env, Costs(decode_s=0.1, decode_per_request_s=0.05), 8)
    ends = [finished(env, engine.generate(0, 0, 10)) for _ in range(4)]
    env.run()
    assert ends == [[pytest.approx(10 * (0.1 + 4 * 0.05))]] * 4


def test_a_request_speeds_up_when_another_ends() -> None:
    env = simpy.Environment()
    engine = SharedEngine(env, Costs(decode_per_request_s=1.0), 8)
    short, long = finished(env, engine.generate(0, 0, 5)), finished(env, engine.generate(0, 0, 10))
    env.run()
    assert short == [pytest.approx(5 * 2.0)]
    assert long == [pytest.approx(5 * 2.0 + 5 * 1.0)]


def test_reading_a_prompt_holds_the_others_up() -> None:
    env = simpy.Environment()
    engine = SharedEngine(env, Costs(decode_s=1.0, read_s=0.5, request_s=2.0), 8)
    first = finished(env, engine.generate(0, 0, 10))
    env.run(until=5)
    engine.generate(context=6, new_tokens=6, num_tokens=1)
    env.run()
    assert first == [pytest.approx((2.0 + 10.0) + (2.0 + 6 * 0.5))]


@pytest.mark.parametrize(("reads_again", "read"), [(True, 100), (False, 10)])
def test_only_an_engine_without_a_prefix_cache_reads_the_whole_context(reads_again: bool, read: int) -> None:
    env = simpy.Environment()
    engine = SharedEngine(env, Costs(read_s=0.1, reads_again=reads_again), 8)
    end = finished(env, engine.generate(context=100, new_tokens=10, num_tokens=1))
    env.run()
    assert end == [pytest.approx(0.1 * read)]


def test_what_finds_no_place_waits_for_one() -> None:
    env = simpy.Environment()
    engine = SharedEngine(env, Costs(decode_s=1.0), 2)
    requests = [engine.generate(0, 0, 4) for _ in range(3)]
    ends = [finished(env, request) for request in requests]
    env.run()
    assert ends == [[4.0], [4.0], [8.0]]
    assert [request.value[1] for request in requests] == [0.0, 0.0, 4.0]


def test_a_pause_stops_decoding_and_tokens_after_it_belong_to_the_new_version() -> None:
    env = simpy.Environment()
    engine = SharedEngine(env, Costs(decode_s=1.0), 8)
    request = engine.generate(0, 0, 10)
    end = finished(env, request)
    env.run(until=4)
    engine.pause()
    env.run(until=7)
    engine.resume(1)
    env.run()
    assert end == [pytest.approx(13.0)]
    assert request.value[0] == [(0, 4), (1, 6)]
    assert engine.paused.area == pytest.approx(3.0)


def test_a_cleared_cache_is_read_again() -> None:
    env = simpy.Environment()
    engine = SharedEngine(env, Costs(decode_s=1.0, read_s=0.1), 8, clears_cache=True)
    end = finished(env, engine.generate(context=50, new_tokens=0, num_tokens=10))
    env.run(until=4)
    engine.pause()
    engine.resume(1)
    env.run()
    assert end == [pytest.approx(10 + 5)]


def test_waiting_for_an_engine_of_one_place_is_that_of_a_queue_of_poisson_arrivals_and_fixed_service() -> (
    None
):
    env, rng, service, load = simpy.Environment(), random.Random(1), 1.0, 0.7
    engine = SharedEngine(env, Costs(decode_s=service), 1)
    waits: list[float] = []

    def ask() -> simpy.events.ProcessGenerator:
        _, waited = yield engine.generate(0, 0, 1)
        waits.append(waited)

    def arrivals() -> simpy.events.ProcessGenerator:
        for _ in range(30_000):
            yield env.timeout(rng.expovariate(load / service))
            env.process(ask())

    env.process(arrivals())
    env.run()
    pollaczek_khinchine = load * service / (2 * (1 - load))
    assert fmean(waits) == pytest.approx(pollaczek_khinchine, rel=0.05)
    assert engine.busy.mean() == pytest.approx(load, rel=0.02)


def test_weights_travel_down_a_tree_whose_servers_share_their_bandwidth() -> None:
    def seconds(host: int, hosts: int) -> float:
        return transfer_s(host, hosts, num_bytes=100.0, bytes_per_s=10.0, fanout=2)

    assert seconds(0, 1) == 10.0
    assert seconds(0, 2) == seconds(1, 2) == 20.0
    assert seconds(2, 3) == 20.0 + 10.0
    assert [seconds(host, 6) for host in range(6)] == [20.0, 20.0, 40.0, 40.0, 40.0, 40.0]
    assert transfer_s(3, 4, num_bytes=100.0, bytes_per_s=0.0, fanout=2) == 0.0
