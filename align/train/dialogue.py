"""Conversations as supervised rows: each turn of the assistant is a target, and all before it its prompt.

With a template that ends turns with the EOS the loss is that of the whole conversation in one sequence, on the
assistant's turns alone. One that does not, such as BianQue's, has no EOS in later prompts; it is a target all the same,
or a model would answer for the user.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..schema import Dialogue, Message, SftRow

if TYPE_CHECKING:
    from ..text.encode import Encoder


def turns(dialogue: Dialogue, encoder: "Encoder") -> Iterator[SftRow]:
    """A row for each turn of the assistant, its prompt rendered by the tokenizer's chat template.

    The trainer ends the completion with the EOS, so a template that ends turns with another token needs a tokenizer
    whose eos_token it is.

    Raises:
        ConfigError: the tokenizer has no chat template.
    """
    tokenizer = encoder.tokenizer
    if tokenizer.chat_template is None:
        raise ConfigError(
            f"{tokenizer.name_or_path}: no chat template, which dialogues need: write chat_template: zephyr in its "
            "entry under models:"
        )
    for place, message in enumerate(dialogue.messages):
        if message.role == "assistant":
            yield SftRow(prompt=_prompt(dialogue.messages[:place], encoder), completion=message.content)


def _prompt(before: list[Message], encoder: "Encoder") -> str:
    """What stands before a turn; nothing before the first, and such a row is dropped and counted."""
    if not before:
        return ""
    tokenizer = encoder.tokenizer
    messages = [message.model_dump() for message in before]
    text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    # the encoder puts the BOS where the tokenizer does: a template that writes it out would double it
    return text.removeprefix(str(tokenizer.bos_token)) if encoder.opens_with_bos else text
