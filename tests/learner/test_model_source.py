import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from common.errors import ConfigurationError, PreflightError
from common.model_config import ModelConfig, SmallModel
from common.prompt import Dialogue
from envhub import registry
from envhub.environment import words
from learner.model_source import make_model
from learner.word_tokenizer import word_tokenizer
from tests.learner.torch_side import SMALL, tiny_folder

NOWHERE = Path("/nowhere")
KNOWN = ["get", "Goal", "oak", "log", "3", "12", ".", ",", ":", "[", "]", "(", ")", "_", "\n"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    file = tmp_path / "vocabulary.json"
    file.write_text(json.dumps(KNOWN))
    return file


def small(**changes: object) -> ModelConfig:
    return ModelConfig(source="small", small=SMALL.model_copy(update=changes))


def test_a_small_model_is_what_its_numbers_say(tmp_path: Path, vocabulary: Path) -> None:
    make_model(tmp_path / "made", small(), vocabulary=vocabulary, seed=0)
    config = AutoModelForCausalLM.from_pretrained(tmp_path / "made").config
    assert (config.hidden_size, config.num_hidden_layers, config.num_key_value_heads) == (32, 2, 2)
    assert config.max_position_embeddings == 256
    assert config.tie_word_embeddings
    assert config.architectures == ["LlamaForCausalLM"]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "made")
    assert config.vocab_size == len(tokenizer)
    assert config.eos_token_id == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_the_seed_decides_the_weights(tmp_path: Path, vocabulary: Path) -> None:
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_model(tmp_path / name, small(), vocabulary=vocabulary, seed=seed)
        made.append(load_file(tmp_path / name / "model.safetensors")["model.embed_tokens.weight"])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize("environment", ["textcraft"])
def test_an_environments_texts_survive_encoding_and_decoding(environment: str) -> None:
    """Instructions, observations and expert moves, letter for letter, without an unknown word."""
    played = registry.environment(environment)
    tokenizer = word_tokenizer(played.vocabulary(), max_length=512)
    texts = [played.instructions(action_format) for action_format in ("plain", "react")]
    for task in (*played.tasks("train")[:20], *played.tasks("test")[:20]):
        episode = played.reset(task.name, seed=0)
        for _ in range(30):
            move = episode.expert()
            texts += [episode.observation, f"Thought: {move.thought}\nAction: {move.action}", move.action]
            if episode.step(move.action).is_terminated:
                break
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text


@given(st.lists(st.sampled_from([*KNOWN, " "]), max_size=20).map("".join))
def test_any_text_of_known_words_survives(text: str) -> None:
    tokenizer = word_tokenizer(KNOWN, max_length=64)
    if set(words(text)) <= set(KNOWN):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_an_unknown_word_is_visible_in_the_text() -> None:
    """It must not vanish: a parser would read another action than the policy wrote."""
    tokenizer = word_tokenizer(KNOWN, max_length=64)
    ids = tokenizer.encode("get zeppelin log", add_special_tokens=False)
    assert len(ids) == 3
    assert tokenizer.decode(ids, skip_special_tokens=True) == "get<unk> log"


def test_a_message_costs_two_tokens_more_than_its_words() -> None:
    tokenizer = word_tokenizer(KNOWN, max_length=64)
    dialogue = Dialogue(tokenizer, "Goal")
    assert (
        tokenizer.decode(dialogue.first_prompt("get"))
        == "<|system|>Goal<|im_end|><|user|>get<|im_end|><|assistant|>"
    )
    assert tokenizer.decode(dialogue.next_prompt("oak", True)) == "<|user|>oak<|im_end|><|assistant|>"
    assert tokenizer.decode(dialogue.action_tokens("get 3 oak log")) == "get 3 oak log<|im_end|>"
    assert dialogue.end_token_ids == (tokenizer.eos_token_id,)


def test_a_folder_in_the_wanted_precision_is_linked(tmp_path: Path) -> None:
    source = tiny_folder(tmp_path / "source")
    make_model(tmp_path / "made", ModelConfig(path=str(source)), vocabulary=NOWHERE, seed=0)
    assert (tmp_path / "made" / "model.safetensors").resolve() == source / "model.safetensors"
    AutoModelForCausalLM.from_pretrained(tmp_path / "made")


def test_a_folder_in_another_precision_is_converted(tmp_path: Path) -> None:
    """Engine and learner must compute from the same weights."""
    source = tiny_folder(tmp_path / "source")
    make_model(tmp_path / "made", ModelConfig(path=str(source), dtype="bfloat16"), vocabulary=NOWHERE, seed=0)
    original, made = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "made"))
    assert original.keys() == made.keys()
    for name, tensor in original.items():
        assert torch.equal(made[name], tensor.bfloat16())
    assert json.loads((tmp_path / "made" / "config.json").read_text())["dtype"] == "bfloat16"


def _without(source: Path, name: str) -> None:
    (source / name).unlink()


def _with(source: Path, **changes: object) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda f: _without(f, "config.json"), r"config\.json cannot be read"),
        (lambda f: _without(f, "model.safetensors"), r"holds no \*\.safetensors"),
        (lambda f: _with(f, quantization_config={}), "quantized"),
        (lambda f: _with(f, architectures=["BertModel"]), "no causal language model"),
        (lambda f: _without(f, "chat_template.jinja"), "chat template"),
    ],
)
def test_a_folder_that_is_no_trainable_model_is_one_clear_line(
    tmp_path: Path, spoil: object, match: str
) -> None:
    source = tiny_folder(tmp_path / "source")
    spoil(source)  # type: ignore[operator]
    with pytest.raises(ConfigurationError, match=match) as caught:
        make_model(tmp_path / "made", ModelConfig(path=str(source)), vocabulary=NOWHERE, seed=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"model\.path = '/nowhere': no such folder"):
        make_model(Path("/tmp/never"), ModelConfig(path="/nowhere"), vocabulary=NOWHERE, seed=0)


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]"])
def test_a_vocabulary_that_is_no_list_of_words_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "vocabulary.json").write_text(content)
    with pytest.raises(PreflightError, match="vocabulary"):
        make_model(tmp_path / "made", small(), vocabulary=tmp_path / "vocabulary.json", seed=0)


def test_the_default_small_model_has_a_few_million_parameters(tmp_path: Path, vocabulary: Path) -> None:
    model = ModelConfig(source="small", small=SmallModel())
    make_model(tmp_path / "made", model, vocabulary=vocabulary, seed=0)
    count = sum(tensor.numel() for tensor in load_file(tmp_path / "made" / "model.safetensors").values())
    assert 2_000_000 < count < 5_000_000
