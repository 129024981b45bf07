"""Which language model: a folder on disk, the packaged SmolLM2, or a small one made from numbers."""

from typing import Literal

from pydantic import Field, model_validator

from common.config import Section


class SmallModel(Section):
    """A Llama of any size with random weights and a word-level tokenizer over the environment's own words."""

    hidden_size: int = Field(default=256, ge=32)
    intermediate_size: int = Field(default=688, ge=32)
    num_layers: int = Field(default=4, ge=1)
    num_heads: int = Field(default=4, ge=1)
    num_kv_heads: int = Field(default=4, ge=1)
    max_length: int = Field(default=2048, ge=64)
    """Positions: the longest episode in tokens."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    is_tied: bool = True
    """The head shares the embedding's matrix."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "SmallModel":
        if self.hidden_size % self.num_heads or self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size}, num_heads {self.num_heads}, num_kv_heads "
                f"{self.num_kv_heads}: heads must divide the hidden size, and key-value heads the heads"
            )
        return self


class LoraConfig(Section):
    """Low-rank adapters: W + (alpha / rank) B A with W frozen, B and A trained (arXiv:2106.09685)."""

    rank: int = Field(default=0, ge=0, le=512)
    """0: every weight is trained."""
    alpha: float = Field(default=16.0, gt=0)
    """The adapter is scaled by alpha / rank."""
    targets: tuple[str, ...] = ("all-linear",)
    """Names of linear layers (`q_proj`), or `all-linear`: every one but the output head."""
    seed: int = 0
    """Of A's first values; B begins at zero, so the first adapter changes nothing."""
    covers_offline: bool = False
    """SFT, DPO and AgentEvol train adapters too and write them merged; False: they train every weight."""

    @property
    def is_on(self) -> bool:
        """Whether adapters are trained instead of the weights."""
        return self.rank > 0

    @model_validator(mode="after")
    def _targets_are_given(self) -> "LoraConfig":
        if not self.targets:
            raise ValueError('targets is empty: give names of linear layers, or ["all-linear"]')
        if "all-linear" in self.targets and len(self.targets) > 1:
            raise ValueError(f"targets {list(self.targets)}: all-linear stands alone")
        return self


class ModelConfig(Section):
    """The policy's model, and the precision of the master weights."""

    source: Literal["path", "small", "smollm2"] = "path"
    """`path`: a Hugging Face folder; `small`: made from `small`; `smollm2`: packaged SmolLM2-135M."""
    path: str = ""
    small: SmallModel = SmallModel()
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the learner computes in and what is broadcast; the optimizer's masters are float32 always."""
    lora: LoraConfig = LoraConfig()

    @model_validator(mode="after")
    def _path_is_given(self) -> "ModelConfig":
        if self.source == "path" and not self.path:
            raise ValueError(
                'path is empty: give a Hugging Face model folder, or source = "small" or "smollm2"'
            )
        return self
