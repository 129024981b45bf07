"""Models small enough to start an engine in a test, and weight files as a learner would publish them."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from common.messages import TensorEntry, WeightManifest

VOCABULARY = 96
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    names = ["<unk>", "<end>", "<system>", "<user>", "<assistant>"]
    names += [f"w{i}" for i in range(VOCABULARY - len(names))]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", unk_token="<unk>")
    fast.add_special_tokens({"additional_special_tokens": names[2:5]})
    fast.chat_template = TEMPLATE
    return fast


def model(seed: int, *, is_tied: bool = True) -> LlamaForCausalLM:
    """A Llama with weights large enough that two seeds disagree by whole nats."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        initializer_range=0.15,
        tie_word_embeddings=is_tied,
        eos_token_id=1,
        bos_token_id=None,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).float().eval()


def folder(path: Path, seed: int = 0, *, is_tied: bool = True) -> Path:
    """A model folder as a user would have it."""
    model(seed, is_tied=is_tied).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def publish(path: Path, made: LlamaForCausalLM, version: int) -> WeightManifest:
    """Write the weights of `made` to the file `path` and say what it holds."""
    tensors = dict(made.named_parameters())
    return publish_tensors(path, {name: tensor.detach() for name, tensor in tensors.items()}, version)


def publish_tensors(path: Path, tensors: dict[str, torch.Tensor], version: int) -> WeightManifest:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    entries = tuple(
        TensorEntry(
            name=name,
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),  # type: ignore[arg-type]
            offset=0,
            num_bytes=tensor.nbytes,
            checksum=0,
        )
        for name, tensor in tensors.items()
    )
    total = sum(entry.num_bytes for entry in entries)
    return WeightManifest(version=version, tensors=entries, num_bytes=total, host="here", path=str(path))


@torch.no_grad()
def logprobs(
    made: LlamaForCausalLM, prompt: list[int], action: list[int], temperature: float = 1.0
) -> list[float]:
    """log pi(action | prompt) by the Hugging Face model, token by token."""
    logits = made(torch.tensor([prompt + action])).logits[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1)[torch.arange(len(action)), torch.tensor(action)].tolist()


@torch.no_grad()
def logprobs_across_update(
    before: LlamaForCausalLM, after: LlamaForCausalLM, prompt: list[int], action: list[int], switch: int
) -> list[float]:
    """Token by token when `after` takes over at action token `switch`, over the keys and values of `before`.

    The last token sampled by `before` was not read by it any more: it is the first that `after` reads.
    """
    context = torch.tensor([prompt + action])
    boundary = len(prompt) + switch - 1
    first = before(context[:, :boundary], past_key_values=DynamicCache())
    second = after(context[:, boundary:-1], past_key_values=first.past_key_values)
    logits = torch.cat([first.logits[0, len(prompt) - 1 :], second.logits[0]])
    return logits.log_softmax(-1)[torch.arange(len(action)), torch.tensor(action)].tolist()
