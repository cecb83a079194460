"""Tell a chat model's thinking from its answer: `<think>…</think>` at the beginning of a reply.

Covers replies whose opening tag stands in the prompt, as templates of DeepSeek-R1 and Qwen3 put it there, and those
that were cut off inside the thinking. Thinking in the middle of an answer is left alone, and so is a tag within a
line, where it is what the answer talks about.
"""

import re

from .request import Reply

OPEN, CLOSE = "<think>", "</think>"
BLOCKS = 16
"""Most pieces of thinking one after the other; what follows is the answer."""
_END = re.compile(rf"^[ \t]*{CLOSE}|{CLOSE}[ \t]*$", re.MULTILINE)


def split_thinking(reply: Reply) -> Reply:
    """The reply with its thinking in `reasoning`, and only the answer in `text`.

    A reply that ends inside its thinking is no answer, whatever ended it: its text is empty, its finish `length`.
    One whose server has told the two apart already stays as it is.
    """
    if reply.finish == "error" or reply.reasoning is not None:
        return reply
    thoughts: list[str] = []
    text = reply.text
    for _ in range(BLOCKS):
        if (found := _first(text)) is None:
            break
        thought, rest = found
        thoughts.append(thought)
        if rest is None:
            return reply.model_copy(update={"text": "", "finish": "length", "reasoning": _joined(thoughts)})
        text = rest
    return reply.model_copy(update={"text": text, "reasoning": _joined(thoughts)}) if thoughts else reply


def _first(text: str) -> tuple[str, str | None] | None:
    """The thinking at the beginning and what follows it, None where it has no end; None where there is no thinking."""
    begun = text.lstrip()
    if begun.startswith(OPEN):
        thought, closed, rest = begun.removeprefix(OPEN).partition(CLOSE)
        return thought, _without_space(rest) if closed else None
    end = _END.search(text)
    if end is None or OPEN in text[: end.start()]:
        return None
    place = text.index(CLOSE, end.start())
    return text[:place], _without_space(text[place + len(CLOSE) :])


def _without_space(text: str) -> str:
    """The text without empty lines before it; an indentation stays, by which code goes on with its prompt."""
    space = text[: len(text) - len(text.lstrip())]
    return text[space.rfind("\n") + 1 :] if "\n" in space else text[len(space) :]


def _joined(thoughts: list[str]) -> str | None:
    return "\n\n".join(stripped for thought in thoughts if (stripped := thought.strip())) or None
