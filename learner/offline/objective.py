"""The one objective of all offline trainers: log-likelihood of the action tokens, each with a weight."""

from dataclasses import replace

from torch import Tensor

from learner.loss import LossSums, TrainedTokens, imitation


def weighted_imitation(tokens: TrainedTokens) -> tuple[Tensor, LossSums]:
    """The scalar  -sum_t weight_t advantage_t log pi_t; an `Objective`.

    With advantage 1 this is imitation; with the return of the trajectory, reward-weighted likelihood
    (AgentEvol, arXiv:2406.04151); with the slopes of `preference.slopes`, its gradient is that of DPO.
    """
    loss = -(tokens.weights * tokens.advantages * tokens.target_logprobs).sum()
    _, sums = imitation(tokens)
    return loss, replace(sums, loss=loss.detach().double())
