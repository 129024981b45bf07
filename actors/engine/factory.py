"""The engine that the configuration names; heavy packages are imported only for the one that is chosen."""

from pathlib import Path

from actors.config import EngineConfig
from actors.engine.engine import Engine
from common.model_config import LoraConfig


def make_engine(model_path: Path, config: EngineConfig, lora: LoraConfig | None = None) -> Engine:
    """An engine for the model folder, not started; ready for adapters such as `lora` describes."""
    if config.kind == "vllm":
        from actors.engine.vllm_engine import VllmEngine

        return VllmEngine(model_path, config, lora or LoraConfig())
    from actors.engine.transformers_engine import TransformersEngine

    return TransformersEngine(model_path, config)
