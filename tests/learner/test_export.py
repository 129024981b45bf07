"""A checkpoint of adapters becomes the model that the run's last step would write."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from common.model_config import SmallModel
from learner.checkpoint import CheckpointStore
from learner.export import ExportConfig, export
from learner.model_source import make_small
from learner.ranks import Ranks, open_trainer
from tests.learner.checkpoints import written

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2}


def test_adapters_are_merged_as_by_the_trainer(tmp_path: Path) -> None:
    config = ExportConfig.model_validate(
        {
            "run": {"name": "trial", "directory": str(tmp_path)},
            "model": {"source": "small", "small": SMALL, "lora": {"rank": 2}},
            "export": {
                "source": str(tmp_path / "trial" / "checkpoints" / "step-000001"),
                "target": str(tmp_path / "exported"),
            },
        }
    )
    folder = config.run.folder
    small = SmallModel.model_validate(SMALL)
    make_small(folder.model, small, ["guess", "number"], dtype="float32", seed=0)
    ranks = Ranks(open_trainer(folder.model, config.learner, config.model))
    try:
        weights = {name: tensor + 0.1 for name, tensor in ranks.state().weights.items()}
        ranks.load(written(CheckpointStore(folder.checkpoints), weights, 1))
        ranks.save_huggingface(tmp_path / "expected")
    finally:
        ranks.stop()
    assert export(config) == 0
    exported, expected = (load_file(tmp_path / n / "model.safetensors") for n in ("exported", "expected"))
    base = load_file(folder.model / "model.safetensors")
    assert exported.keys() == expected.keys() == base.keys()
    assert all(torch.equal(exported[name], expected[name]) for name in exported)
    assert any(not torch.equal(exported[name], base[name]) for name in exported)
