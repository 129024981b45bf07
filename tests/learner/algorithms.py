"""Every algorithm by the settings that make it; what the tests of all of them run over."""

from typing import Any

from learner.config import LearnerConfig

CRITIC = {"critic": {"kind": "separate", "learning_rate": 1e-2}}

SETTINGS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "grpo_std": {"advantage": {"normalizes_std": True}, "loss": {"aggregation": "seq-mean-token-mean"}},
    "rloo": {"advantage": {"kind": "rloo"}},
    "reinforce_pp": {"advantage": {"kind": "reinforce_pp"}, "loss": {"kind": "reinforce"}},
    "reinforce_pp_group": {"advantage": {"kind": "reinforce_pp", "baseline": "group"}},
    "ppo_gae": {
        "advantage": {"kind": "gae", "gamma": 0.95},
        "loss": {"kind": "ppo"},
        **CRITIC,
        "epochs": 2,
        "minibatches": 2,
    },
    "ppo_gae_shared": {
        "advantage": {"kind": "gae", "gamma": 0.95},
        "loss": {"kind": "ppo"},
        "critic": {"kind": "shared"},
    },
    "vtrace": {"advantage": {"kind": "vtrace", "gamma": 0.95}, "loss": {"kind": "tis"}, **CRITIC},
    "decoupled_ppo": {"loss": {"kind": "decoupled_ppo"}, "epochs": 2},
    "ipo": {"loss": {"kind": "ipo"}},
    "icepop": {"loss": {"kind": "icepop"}},
    "cispo": {"loss": {"kind": "cispo"}},
    "gspo": {"loss": {"kind": "gspo", "aggregation": "seq-mean-token-mean"}},
    "m2po": {"loss": {"second_moment": 0.04}},
    "sequence_masks": {
        "loss": {"geometric_low": 0.5, "geometric_high": 2.0, "opsm_delta": 0.1, "veto_low": 1e-4}
    },
    "kl_in_loss": {"loss": {"reference_kl": 0.1, "kl_kind": "k3"}},
    "kl_in_reward": {"loss": {"reference_kl": 0.1, "kl_kind": "k1", "kl_in": "reward"}},
    "guarded": {"guards": {"ess_scaling": True, "max_update_kl": 0.01}, "epochs": 3},
}


def settings_of(name: str, **others: Any) -> LearnerConfig:
    """The configuration of one algorithm for a tiny model and groups of four."""
    common = {"group_size": 4, "learning_rate": 1e-2, "epsilon": 1e-3, "device": "cpu", "steps": 10}
    return LearnerConfig.model_validate({**common, "microbatch_tokens": 64, **SETTINGS[name], **others})
