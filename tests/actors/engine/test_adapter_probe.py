"""When an engine's adapter counts as the learner's."""

import math
from pathlib import Path

import numpy as np
import pytest

from actors.config import EngineConfig
from actors.engine.adapter_probe import difference
from actors.engine.meter import LoadMeter
from actors.engine.model_folder import ModelFolder
from actors.engine.vllm_options import adapter_arguments
from actors.engine.vllm_weights import VllmWeights
from common.errors import WeightError
from common.messages import AdapterProbe
from common.model_config import LoraConfig
from tests.actors.engine import adapters, tiny

FLOAT32 = {"float32"}
BASE = np.array([-3.0, -5.0, -2.0, -9.0])


def probe(moved: float) -> AdapterProbe:
    """An adapter that moves every logprob by so many nats, up and down in turn."""
    adapted = BASE + moved * np.array([1, -1, 1, -1])
    return AdapterProbe(tokens=(1, 2), candidates=(3, 4, 5, 6), base=tuple(BASE), adapted=tuple(adapted))


def test_what_engine_and_learner_disagree_about_anyhow_does_not_count() -> None:
    asked = probe(0.5)
    off = BASE + 7.0
    assert not difference(asked, list(off), list(np.add(asked.adapted, 7.0)), FLOAT32)


@pytest.mark.parametrize(("dtypes", "seen"), [(FLOAT32, 0.0014), ({"float32", "bfloat16"}, 0.14)])
def test_an_adapter_that_is_not_applied_is_noticed_once_it_matters(dtypes: set[str], seen: float) -> None:
    assert "moves the engine's logprobs by 0.0000" in difference(probe(seen), list(BASE), list(BASE), dtypes)
    assert not difference(probe(seen / 2), list(BASE), list(BASE), dtypes)
    assert not difference(probe(0.0), list(BASE), list(BASE), dtypes)


def test_an_older_adapter_under_a_new_name_is_noticed() -> None:
    asked, older = probe(0.5), probe(0.3)
    assert difference(asked, list(BASE), list(older.adapted), FLOAT32)


def test_an_adapter_that_moves_what_the_learner_does_not_is_noticed() -> None:
    assert difference(probe(0.0), list(BASE), list(probe(0.5).adapted), FLOAT32)


def test_answers_that_are_no_numbers_are_never_accepted() -> None:
    assert difference(probe(0.5), list(BASE), [math.nan] * 4, FLOAT32)


def test_vllm_makes_room_for_the_next_rank_that_it_knows() -> None:
    assert adapter_arguments(LoraConfig()) == {}
    ranks = [adapter_arguments(LoraConfig(rank=rank))["max_lora_rank"] for rank in (1, 4, 8, 9, 100, 512)]
    assert ranks == [1, 8, 8, 16, 128, 512]


async def test_an_engine_without_room_for_adapters_says_so(tmp_path: Path) -> None:
    folder = ModelFolder(tiny.folder(tmp_path / "model"))
    weights = VllmWeights(None, folder, EngineConfig(), LoadMeter(1))
    with pytest.raises(WeightError, match=r"version 4: an adapter, .* \(model\.lora\.rank = 0\)"):
        await weights.load(*adapters.publish(tmp_path, adapters.tensors(1), 4))
