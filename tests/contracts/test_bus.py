"""What the bus promises, kept by the memory bus and by the TCP bus alike."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.bus.bus import ActorBus, LearnerBus
from common.errors import PreflightError, ProtocolError, WeightError
from common.messages import (
    Ack,
    Goodbye,
    Grant,
    Heartbeat,
    Hello,
    Lease,
    PolicyAnnouncement,
    Ready,
    Refusal,
    Sampling,
    Stop,
    Submit,
    Welcome,
)
from common.trajectory import Member, TaskReference, Trajectory
from tests.common.records import make_trajectory
from tests.contracts.nets import CONFIG, NETS, join, joined, manifest_of

HEARTBEAT = Heartbeat(policy_version=0, num_sessions=1)


@pytest.fixture(params=NETS, ids=lambda net: net.__name__.removesuffix("Net").lower())
def make_net(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def net(make_net: Callable[..., Any]) -> Any:
    return make_net()


def grant(group: int) -> Grant:
    lease = Lease(
        identity=Member(run="r", group=group, member=0),
        task=TaskReference(environment="textcraft", task="t"),
        horizon=5,
        sampling=Sampling(),
    )
    return Grant(lease=lease)


def announcement(version: int) -> PolicyAnnouncement:
    return PolicyAnnouncement(version=version, horizon=5, sampling=Sampling())


async def test_a_trajectory_arrives_as_it_was_sent_and_the_answer_returns(net: Any) -> None:
    async with joined(net, "a") as (learner, actor):
        trajectory = make_trajectory(num_turns=3)
        await actor.send(Submit(trajectory=trajectory))
        name, message = await learner.receive()
        assert (name, type(message)) == ("a", Submit)
        assert_same(message.trajectory, trajectory)
        assert await learner.send("a", Ack(identity=trajectory.identity))
        assert await actor.receive() == Ack(identity=trajectory.identity)


async def test_an_answer_reaches_only_the_actor_it_is_for(net: Any) -> None:
    async with joined(net, "a", "b") as (learner, a, b):
        await learner.send("b", grant(2))
        await learner.send("a", grant(1))
        assert (await a.receive()) == grant(1)
        assert (await b.receive()) == grant(2)


async def test_messages_of_one_actor_keep_their_order(net: Any) -> None:
    async with joined(net, "a") as (learner, actor):
        for credits in range(1, 50):
            await actor.send(Ready(credits=credits))
        assert [(await learner.receive())[1].credits for _ in range(1, 50)] == list(range(1, 50))


async def test_the_welcome_names_the_run_and_the_heartbeat(net: Any) -> None:
    learner = net.learner("textcraft-1")
    await learner.start()
    net.config = learner.config
    actor = net.actor("a", run="textcraft-1")
    assert await join(learner, actor) == Welcome(run="textcraft-1", heartbeat_s=CONFIG.heartbeat_s)
    await actor.close()
    await learner.close()


async def test_an_actor_of_another_run_is_refused_with_the_reason(net: Any) -> None:
    async with joined(net, "good") as (learner, good):
        stranger = net.actor("lost", run="other")
        await good.send(HEARTBEAT)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            start = group.create_task(refused_start(stranger))
            received = group.create_task(receive_until(learner, Goodbye))
            reason = await start
            await good.send(Goodbye())
        assert "run" in reason
        assert "other" in reason
        assert [name for name, _ in received.result()] == ["good", "good"]
        assert learner.refused == 1
        await stranger.close()


async def refused_start(actor: ActorBus) -> str:
    with pytest.raises(ProtocolError) as caught:
        await actor.start()
    return str(caught.value)


async def receive_until(learner: LearnerBus, kind: type) -> list[tuple[str, Any]]:
    received = [await learner.receive()]
    while not isinstance(received[-1][1], kind):
        received.append(await learner.receive())
    return received


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xff\xff"],
        [b"\x93\x01\xa5hello"],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\x93\x02\xa5hello\x80"],
        [b"\x93\x01\xa3ack\x80"],
        [b"\x93\x01\xa7goodbye\x80", b"junk"],
    ],
)
async def test_a_malformed_frame_is_counted_and_harms_nobody(net: Any, frames: list[bytes]) -> None:
    async with joined(net, "a") as (learner, actor):
        await net.send_garbage(frames)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            received = group.create_task(receive_until(learner, Goodbye))
            while learner.refused == 0:
                await actor.send(HEARTBEAT)
                await asyncio.sleep(0)
            await actor.send(Goodbye())
        assert {name for name, _ in received.result()} == {"a"}
        assert learner.refused == 1


async def test_an_unknown_or_departed_actor_cannot_be_sent_to(net: Any) -> None:
    async with joined(net, "a") as (learner, actor):
        assert not await learner.send("nobody", grant(1))
        await actor.close()
        assert (await learner.receive())[1] == Goodbye()
        assert not await learner.send("a", grant(1))


async def test_goodbye_is_said_once(net: Any) -> None:
    async with joined(net, "polite", "last") as (learner, polite, last):
        await polite.send(Goodbye())
        await polite.close()
        assert await learner.receive() == ("polite", Goodbye())
        await last.send(HEARTBEAT)
        assert await learner.receive() == ("last", HEARTBEAT)


async def test_sending_to_an_actor_that_does_not_read_never_waits_and_ends_in_false(make_net: Any) -> None:
    net = make_net(CONFIG.model_copy(update={"max_queued_messages": 4}))
    async with joined(net, "slow", "quick") as (learner, _, quick):
        text = "x" * 500_000  # large enough that the kernel's socket buffers cannot hide the limit
        sent = [await learner.send("slow", Stop(reason=text)) for _ in range(200)]
        assert sent[0]
        assert not sent[-1]
        assert await learner.send("quick", grant(1))
        assert await quick.receive() == grant(1)


async def test_a_message_larger_than_the_limit_is_refused_by_its_sender(net: Any) -> None:
    async with joined(net, "a") as (_, actor):
        with pytest.raises(ProtocolError, match=r"exceeds bus\.max_message_bytes = 1048576"):
            await actor.send(Submit(trajectory=make_trajectory(num_turns=1, num_actions=300_000)))


async def test_the_newer_of_two_actors_with_one_name_stays(net: Any) -> None:
    async with joined(net, "a") as (learner, older):
        newer = net.actor("a")
        await join(learner, newer)
        assert isinstance(await older.receive(), Stop)
        assert await learner.send("a", grant(7))
        assert await newer.receive() == grant(7)
        await older.send(Ready(credits=3))
        await newer.send(Ready(credits=4))
        assert await learner.receive() == ("a", Ready(credits=4))
        assert isinstance(await asyncio.wait_for(answered(learner, older), 10), Stop)
        await newer.close()


async def answered(learner: LearnerBus, actor: ActorBus) -> Any:
    """The actor's next message, while the learner keeps receiving."""
    async with asyncio.TaskGroup() as group:
        receiving = group.create_task(receive_until(learner, Goodbye))
        message = await actor.receive()
        receiving.cancel()
    return message


async def test_an_actor_is_welcomed_again_by_a_restarted_learner(net: Any) -> None:
    async with joined(net, "a") as (learner, actor):
        await learner.close()
        restarted = net.learner()
        await restarted.start()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            received = group.create_task(receive_until(restarted, Ready))
            await actor.send(HEARTBEAT)
            while not isinstance(message := await actor.receive(), Welcome):
                assert not isinstance(message, Refusal)
            await actor.send(Ready(credits=9))
        assert isinstance(received.result()[0][1], Hello)
        assert received.result()[-1] == ("a", Ready(credits=9))
        assert await restarted.send("a", grant(1))
        assert await actor.receive() == grant(1)
        await restarted.close()


async def test_an_actor_gives_up_when_no_learner_answers(make_net: Any) -> None:
    net = make_net(CONFIG.model_copy(update={"connect_s": 0.05}))
    actor = net.actor("a")
    with pytest.raises(PreflightError, match=r"'a'.* did not answer within 0.05 s"):
        await actor.start()
    await actor.close()


async def test_a_late_joiner_gets_the_newest_policy_at_once(net: Any) -> None:
    async with joined(net, "early") as (learner, early):
        await learner.announce(announcement(1))
        await learner.announce(announcement(2))
        late = net.actor("late")
        await join(learner, late)
        async with asyncio.timeout(10):
            assert (await late.next_policy()).version == 2
            while (await early.next_policy()).version != 2:
                pass
        await late.close()


async def test_the_newest_policy_wins_and_is_returned_once(net: Any) -> None:
    async with joined(net, "a") as (learner, actor):
        for version in range(20):
            await learner.announce(announcement(version))
        versions: list[int] = []
        async with asyncio.timeout(10):
            while not versions or versions[-1] < 19:
                versions.append((await actor.next_policy()).version)
        assert versions == sorted(set(versions))
        await learner.announce(announcement(19))
        await learner.announce(announcement(20))
        async with asyncio.timeout(10):
            assert (await actor.next_policy()).version == 20


async def test_a_version_may_go_back_after_a_restart(net: Any) -> None:
    async with joined(net, "a") as (learner, actor):
        await learner.announce(announcement(9))
        async with asyncio.timeout(10):
            assert (await actor.next_policy()).version == 9
            await learner.announce(announcement(8))
            assert (await actor.next_policy()).version == 8


@pytest.mark.parametrize("num_bytes", [1, 1000, 1024, 50_000])
async def test_fetched_weights_are_the_learners_bytes(make_net: Any, tmp_path: Path, num_bytes: int) -> None:
    net = make_net(CONFIG.model_copy(update={"chunk_bytes": 1024, "chunks_in_flight": 3}))
    file = tmp_path / "held"
    file.write_bytes(bytes(i % 251 for i in range(num_bytes)))
    net.weights.files[3] = file
    async with joined(net, "a") as (_, actor), asyncio.timeout(10):
        fetched = await actor.fetch_weights(manifest_of(3, num_bytes), tmp_path / "copy")
        assert fetched == tmp_path / "copy"
        assert fetched.read_bytes() == file.read_bytes()


async def test_a_version_that_the_learner_does_not_hold_is_refused(net: Any, tmp_path: Path) -> None:
    async with joined(net, "a") as (_, actor), asyncio.timeout(10):
        with pytest.raises(WeightError, match="does not hold version 4"):
            await actor.fetch_weights(manifest_of(4, 10), tmp_path / "copy")


def assert_same(left: Trajectory, right: Trajectory) -> None:
    assert left.tokens().tolist() == right.tokens().tolist()
    assert left.behaviour_logprobs().tolist() == right.behaviour_logprobs().tolist()
    assert left.next_prompt_tokens.tolist() == right.next_prompt_tokens.tolist()
    arrays = {"turns", "next_prompt_tokens"}
    assert left.model_dump(exclude=arrays) == right.model_dump(exclude=arrays)
