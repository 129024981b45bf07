from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from common.errors import ConfigurationError
from learner.attention import choose
from learner.batch import MicroBatch, TrainingSequence
from learner.model import CausalPolicy, PackedInput, load_causal_lm, score
from learner.packing import pack
from tests import reference
from tests.learner.torch_side import random_sequences, tiny_folder

CPU = torch.device("cpu")
LENGTHS = [5, 40, 2, 40, 17, 40, 100, 3, 3, 3]


def packed_input(microbatch: MicroBatch) -> PackedInput:
    return PackedInput.of(
        microbatch.tokens,
        microbatch.position_ids,
        microbatch.cu_seqlens,
        microbatch.is_trained,
        device=CPU,
        attention="per_sequence",
    )


def alone(model: torch.nn.Module, sequence: TrainingSequence, temperature: float) -> torch.Tensor:
    """log pi of the trained tokens by the plain Hugging Face model, one sequence at a time."""
    logits = model(torch.from_numpy(sequence.tokens.astype(np.int64))[None]).logits[0, :-1] / temperature
    trained = np.flatnonzero(sequence.is_trained)
    targets = torch.from_numpy(sequence.tokens[trained].astype(np.int64))
    return logits[trained - 1].log_softmax(-1).gather(-1, targets[:, None])[:, 0]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("num_kv_heads", [4, 2, 1])
@pytest.mark.parametrize("is_tied", [True, False])
def test_packed_equals_unpacked(tmp_path: Path, temperature: float, num_kv_heads: int, is_tied: bool) -> None:
    """Logprobs and the gradients of all parameters."""
    folder = tiny_folder(tmp_path / "model", is_tied=is_tied, num_kv_heads=num_kv_heads)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    policy = CausalPolicy(load_causal_lm(folder))
    sequences = sorted(random_sequences(LENGTHS), key=len, reverse=True)
    (microbatch,) = pack(sequences, microbatch_tokens=4096).ranks[0]
    logprobs, _, _ = policy(packed_input(microbatch), temperature, False)
    expected = torch.cat([alone(plain, sequence, temperature) for sequence in sequences])
    torch.testing.assert_close(logprobs, expected, atol=1e-5, rtol=0)
    logprobs.mean().backward()
    expected.mean().backward()
    for (name, ours), (_, theirs) in zip(
        policy.causal_lm.named_parameters(), plain.named_parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_a_sequence_does_not_see_its_neighbours(tmp_path: Path) -> None:
    policy = CausalPolicy(load_causal_lm(tiny_folder(tmp_path / "model")))
    first, second, other = random_sequences([30, 20, 20])
    with torch.no_grad():
        together = [
            policy(packed_input(pack([first, neighbour], microbatch_tokens=64).ranks[0][0]), 1.0, False)[0]
            for neighbour in (second, other)
        ]
    count = int(first.is_trained.sum())
    torch.testing.assert_close(together[0][:count], together[1][:count], atol=0, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("max_elements", [1, 100, 10_000])
def test_the_head_in_chunks_is_log_softmax_and_entropy(temperature: float, max_elements: int) -> None:
    rng = np.random.default_rng(0)
    hidden, weight, bias = rng.normal(size=(23, 8)), rng.normal(size=(31, 8)), rng.normal(size=31)
    targets = rng.integers(0, 31, 23)
    tensors = [torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in (hidden, weight, bias)]
    logprobs, entropy = score(*tensors, torch.from_numpy(targets), temperature, True, max_elements)
    expected = reference.log_softmax(hidden @ weight.T + bias, temperature)
    np.testing.assert_allclose(logprobs.detach(), expected[np.arange(23), targets], atol=2e-5, rtol=1e-5)
    np.testing.assert_allclose(entropy.detach(), -(np.exp(expected) * expected).sum(-1), atol=2e-5, rtol=1e-5)
    (logprobs.sum() + entropy.sum()).backward()
    whole = [torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in (hidden, weight, bias)]
    log_p = ((whole[0] @ whole[1].T + whole[2]) / temperature).log_softmax(-1)
    (log_p[torch.arange(23), targets].sum() - (log_p.exp() * log_p).sum()).backward()
    for chunked, reference_tensor in zip(tensors, whole, strict=True):
        torch.testing.assert_close(chunked.grad, reference_tensor.grad, atol=1e-4, rtol=1e-4)


def test_entropy_carries_gradient_only_when_asked() -> None:
    hidden, weight = torch.randn(4, 8, requires_grad=True), torch.randn(9, 8)
    targets = torch.zeros(4, dtype=torch.int64)
    assert score(hidden, weight, None, targets, 1.0, True)[1].requires_grad
    assert not score(hidden, weight, None, targets, 1.0, False)[1].requires_grad


def test_an_empty_micro_batch_is_one_token_on_which_nothing_is_trained(tmp_path: Path) -> None:
    policy = CausalPolicy(load_causal_lm(tiny_folder(tmp_path / "model")))
    (empty,) = pack([], microbatch_tokens=64).ranks[0]
    logprobs, entropy, _ = policy(packed_input(empty), 1.0, False)
    logprobs.sum().backward()
    assert len(logprobs) == len(entropy) == 0
    assert all(not parameter.grad.any() for parameter in policy.parameters())


def test_a_folder_without_a_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        load_causal_lm(tmp_path)


def test_flash_attention_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(ConfigurationError, match=r"learner\.attention = 'flash': needs CUDA"):
        choose("flash", CPU, torch.float32)
    assert choose("auto", CPU, torch.bfloat16) == "per_sequence"
    assert choose("auto", torch.device("cuda"), torch.bfloat16) == "flash"
    assert choose("auto", torch.device("cuda"), torch.float32) == "per_sequence"


@pytest.mark.parametrize(
    ("option", "match"),
    [({"softcap": 30.0}, "softcap"), ({"s_aux": torch.zeros(1)}, "s_aux"), ({"dropout": 0.1}, "dropout"),
     ({"sliding_window": 16}, "sliding window of 16")],
)  # fmt: skip
def test_attention_that_is_not_computed_is_refused(option: dict[str, object], match: str) -> None:
    from learner.attention import Packing, packed_attention

    states = torch.zeros(1, 2, 20, 8)
    packing = Packing(torch.tensor([0, 20]), (20,), "per_sequence")
    with pytest.raises(ConfigurationError, match=match):
        packed_attention(torch.nn.Module(), states, states, states, None, packing=packing, **option)
