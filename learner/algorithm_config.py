"""What is learnt from a batch: advantage, loss, critic, reference model, and the guards around a step."""

from typing import Literal

from pydantic import Field, model_validator

from common.config import Section

Estimator = Literal["grpo", "rloo", "reinforce_pp", "gae", "vtrace"]
LossKind = Literal[
    "dppo_tv", "ipo", "ppo", "decoupled_ppo", "tis", "icepop", "cispo", "gspo", "reinforce"
]  # fmt: skip
Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]


class AdvantageConfig(Section):
    """From rewards to the credit of each action token."""

    kind: Estimator = "grpo"
    """`grpo`, `rloo`: compare a group; `reinforce_pp`: normalised over the batch; `gae`, `vtrace`: critic."""
    normalizes_std: bool = False
    """`grpo`: divide by the group's standard deviation."""
    baseline: Literal["batch", "group"] = "batch"
    """`reinforce_pp`: what is subtracted before the batch is normalised."""
    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount. `grpo` and `rloo` compare undiscounted returns."""
    gae_lambda: float = Field(default=1.0, ge=0, le=1)
    """`gae`, `vtrace`: decay of the trace."""
    discount_unit: Literal["turn", "token"] = "turn"
    """Whether gamma and lambda apply where a turn ends or at every action token."""
    whitens: bool = False
    """`gae`, `vtrace`: mean 0 and deviation 1 over the action tokens of the batch."""
    rho_cap: float = Field(default=1.0, gt=0)
    c_cap: float = Field(default=1.0, gt=0)
    """`vtrace`: caps of the importance weights in the value target and in the trace."""
    bootstraps: bool = True
    """`gae`, `vtrace`: where an episode was cut, go on with the critic's value; False: with 0."""

    @property
    def compares_group(self) -> bool:
        """Whether a group of one has no advantage."""
        return self.kind in ("grpo", "rloo") or (self.kind == "reinforce_pp" and self.baseline == "group")

    @property
    def needs_critic(self) -> bool:
        """Whether the estimator reads a critic's values."""
        return self.kind in ("gae", "vtrace")


class LossConfig(Section):
    """The policy-gradient objective, anchored on the recorded behaviour logprobs."""

    kind: LossKind = "dppo_tv"
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    """`ppo`, `decoupled_ppo`: bounds of the ratio, 1 - clip_low and 1 + clip_high."""
    dual_clip: float = Field(default=0.0, ge=0)
    """`ppo`, `decoupled_ppo`: for negative advantages the loss is at most this times |A|; 0: no bound."""
    tv_delta: float = Field(default=0.2, gt=0, le=1)
    """`dppo_tv`: a token is masked when |pi - mu| exceeds this in the direction of the update."""
    ipo_epsilon: float = Field(default=0.1, gt=0, le=1)
    """`ipo`: a token is masked when |pi - mu| exceeds this."""
    max_ratio: float = Field(default=20.0, gt=1)
    """`dppo_tv`, `ipo`: cap of the importance ratio; `decoupled_ppo`: of proximal over behaviour."""
    tis_cap: float = Field(default=2.0, ge=1)
    """`tis`: cap of the truncated importance weight."""
    icepop_low: float = Field(default=0.5, ge=0, lt=1)
    icepop_high: float = Field(default=5.0, gt=1)
    """`icepop`: a token whose ratio is outside is masked."""
    cispo_low: float = Field(default=0.0, ge=0, le=1)
    cispo_high: float = Field(default=5.0, ge=1)
    """`cispo`: bounds of the detached ratio that weighs the gradient."""
    gspo_low: float = Field(default=3e-4, gt=0, lt=1)
    gspo_high: float = Field(default=4e-4, gt=0)
    """`gspo`: bounds of the sequence ratio, 1 - gspo_low and 1 + gspo_high."""
    second_moment: float = Field(default=0.0, ge=0)
    """M2PO: mask tokens until the batch's mean (log r)^2, of those that the update would carry farther from
    the behaviour policy, is at most this; 0: off, the paper takes 0.04."""
    geometric_low: float = Field(default=0.0, ge=0, lt=1)
    geometric_high: float = Field(default=0.0, ge=0)
    """Sequence mask: the geometric mean of a sequence's ratios must be inside; high 0: off."""
    opsm_delta: float = Field(default=0.0, ge=0)
    """Sequence mask: negative advantage and mean log mu - log pi above this; 0: off."""
    veto_low: float = Field(default=0.0, ge=0, lt=1)
    veto_high: float = Field(default=0.0, ge=0)
    """Sequence mask: any token's ratio below the one or above the other; 0: that bound is off."""
    behaviour_kl: float = Field(default=1e-3, ge=0)
    """Weight of (log r)^2 towards the behaviour policy."""
    entropy: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus."""
    reference_kl: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the reference model; 0: no reference model is held."""
    kl_kind: Literal["k1", "k2", "k3"] = "k3"
    """Its estimate; the unbiased gradients are those of `k2` in the loss and of `k1` in the reward."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Whether that divergence is a term of the loss or taken from the reward of each action token."""
    aggregation: Aggregation = "token-mean"
    """How the losses of tokens become one; counted over all ranks, before any masking."""
    aggregation_tokens: int = Field(default=1024, ge=1)
    """`seq-mean-token-sum-norm`: the constant that a sequence's sum is divided by."""

    @property
    def needs_proximal(self) -> bool:
        """Whether the policy is scored once more before the updates of a step."""
        return self.kind == "decoupled_ppo" or self.second_moment > 0

    @property
    def needs_reference(self) -> bool:
        """Whether a reference model is held."""
        return self.reference_kl > 0

    @model_validator(mode="after")
    def _bounds_hold_a_ratio_of_one(self) -> "LossConfig":
        for name in ("kl_kind", "kl_in"):
            # Not `model_fields_set`: a run's resolved configuration names every field.
            if getattr(self, name) != type(self).model_fields[name].default and not self.reference_kl:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: no reference model is held with reference_kl = 0; "
                    "give a weight above 0"
                )
        for name in ("dual_clip", "geometric_high", "veto_high"):
            if 0 < (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} = {value:g}: must be above 1, or 0 for no bound")
        if self.geometric_low and not self.geometric_high:
            raise ValueError(f"geometric_low = {self.geometric_low:g}: give geometric_high too, above 1")
        return self


class CriticConfig(Section):
    """The value function of `gae` and `vtrace`."""

    kind: Literal["none", "separate", "shared"] = "none"
    """`separate`: a model of its own, begun as the policy; `shared`: a head on the policy's trunk."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Of the separate model; of the shared head."""
    warmup_steps: int = Field(default=0, ge=0)
    """The first so many steps train the critic alone."""
    clip: float = Field(default=0.2, ge=0)
    """The value may move so far from what it was when the step began; 0: no clipping."""
    coefficient: float = Field(default=0.5, gt=0)
    """Weight of the value loss."""


class ReferenceConfig(Section):
    """The frozen policy that a KL term is measured against: what reinforcement learning began with."""

    offload: bool = False
    """Keep its weights in host memory and move them in block by block; on a GPU only."""


class GuardConfig(Section):
    """What holds a step back when the batch is too far from the policy."""

    ess_scaling: bool = False
    """VCPO: scale the learning rate by the square root of the effective sample share."""
    min_ess: float = Field(default=0.0, ge=0, lt=1)
    """Skip an update whose effective sample share is below this; 0: never."""
    max_update_kl: float = Field(default=0.0, ge=0)
    """End the epochs of a step once the policy is this far (k3, nats) from where the step began; 0: never."""
