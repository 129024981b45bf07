"""Between hosts with keys: a relay fetches from the relay whose key it was told, and from nobody else."""

from contextlib import AsyncExitStack
from pathlib import Path

from common.bus.config import BusConfig
from launch.cli import main
from tests.actors.relay.tree import BUS, holds, publishing, relaying, until


async def test_relays_with_keys_fetch_from_each_other_and_a_false_parent_is_passed_over(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    assert main(["keys", str(keys), "a", "b", "c"]) == 0

    async with AsyncExitStack() as stack:
        config = BUS.model_copy(update={"keys": str(keys / "learner")})
        learner = await stack.enter_async_context(publishing(tmp_path, config=config))

        def of_host(name: str) -> BusConfig:
            return learner.bus.config.model_copy(update={"keys": str(keys / "hosts" / name)})

        a = await stack.enter_async_context(relaying(tmp_path, of_host("a"), "a"))
        b = await stack.enter_async_context(relaying(tmp_path, of_host("b"), "b", a, patience_s=60))
        false = f"b@127.0.0.1:{a.port}"
        c = await stack.enter_async_context(relaying(tmp_path, of_host("c"), "c", false, patience_s=1))
        manifest = await learner.publish(1)
        for relay in (a, b, c):
            await until(lambda relay=relay: relay.relay.status.version == 1)  # type: ignore[misc]
            assert holds(tmp_path, relay.name, manifest)
        sources = [relay.relay.status.source for relay in (a, b, c)]
        assert sources == ["the learner", "the relay a", "the learner"]
        assert c.relay.status.fallbacks == 1
