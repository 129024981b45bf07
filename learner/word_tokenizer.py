"""A word-level tokenizer over a given list of words, with a chat template of one token per role.

    <|user|>Goal: craft oak slab.<|im_end|><|assistant|>Action: get 1 oak log<|im_end|><|user|>...

Every word has two tokens, with and without a space before it, so that decoding is laying end to end and
returns the very text that was encoded, as long as its words are known.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

END = "<|im_end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
UNKNOWN = "<unk>"
"""Not a special token: where a policy writes it, the text shows it and no parser takes it for an action."""

# As `envhub.environment.words` cuts texts, each piece with the one space before it.
_PIECE = r"\n| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]|\s"

_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def word_tokenizer(words: Iterable[str], *, max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of `words` (sorted and made unique here, so that the ids depend on nothing else).

    Words are what `envhub.environment.words` finds: letters, digits, one punctuation mark or a line break;
    any other word could never be matched. Unknown words become `<unk>`.
    """
    known = sorted(set(words) | {"\n", " "})
    spaced = [f" {word}" for word in known if not word.isspace()]
    ids = {token: index for index, token in enumerate([UNKNOWN, END, *ROLES, *known, *spaced])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = _TEMPLATE
    return fast
