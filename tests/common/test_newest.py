"""A slot for the newest value."""

import asyncio

from common.bus.newest import Newest


async def test_what_was_replaced_before_it_was_taken_is_never_seen() -> None:
    slot: Newest[int] = Newest()
    for value in (1, 2, 3):
        slot.put(value)
    assert await slot.take() == 3


async def test_a_reader_waits_for_news() -> None:
    slot: Newest[int] = Newest()
    async with asyncio.TaskGroup() as group:
        taken = group.create_task(slot.take())
        await asyncio.sleep(0)
        assert not taken.done()
        slot.put(1)
    assert taken.result() == 1


async def test_the_same_value_again_is_no_news() -> None:
    slot: Newest[int] = Newest()
    slot.put(1)
    await slot.take()
    slot.put(2)
    slot.put(1)
    async with asyncio.TaskGroup() as group:
        taken = group.create_task(slot.take())
        await asyncio.sleep(0)
        assert not taken.done()
        slot.put(2)
    assert taken.result() == 2
