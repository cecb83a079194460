"""Named templates that turn a problem into final text: the prompt a model continues, and the completion it learns.

Covers text prompts, and chat templates by name for bases that have none. Chats with a teacher are
`align.generate.ask`; a model's own chat template is applied by `align.generate.hf`. Trainers add EOS to what stands
here, and nothing else. Torch-free.
"""

import ast
import inspect
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError, DataError, suggest
from ..schema import Problem, content_id

TemplateName = Literal["plain", "raw", "pangu-coder2", "humaneval", "mbpp", "alpaca", "bloomz"]


@dataclass(frozen=True)
class Template:
    """How one family of models is prompted."""

    name: TemplateName
    prompt: str
    """Python format over `prompt` and `example`, or over `docstring` and `head` where `docstring_first`."""
    completion: str | None = "{code}"
    """Python format over `code`; None where the prompt ends inside the answer's function."""
    docstring_first: bool = False
    """The prompt is source that ends with a docstring, which moves before it."""
    about: str = ""
    """When to use it."""

    @property
    def id(self) -> str:
        """`name@hash`; the hash changes whenever the text does."""
        return f"{self.name}@{content_id([self.prompt, self.completion, self.docstring_first])[:8]}"


TEMPLATES = {
    template.name: template
    for template in (
        Template("plain", "{prompt}\n", about="The default: a task in words; the code begins on a line of its own."),
        Template(
            "raw",
            "{prompt}",
            about="Prompts that are final already, such as those of SFT rows of your own: nothing is added.",
        ),
        Template(
            "pangu-coder2",
            '"""\n{prompt}\n"""\n',
            about="The prompt in quotes and the code alone: what PanGu-Coder2 (arXiv 2307.14936) trains on.",
        ),
        Template(
            "humaneval",
            '"""\n{docstring}\n"""\n{head}',
            completion=None,
            docstring_first=True,
            about="What PanGu-Coder2 is evaluated on: prompts that are a signature with its docstring. Cannot train.",
        ),
        Template(
            "mbpp",
            '"""\n{prompt}\n{example}"""\n',
            about="For texts that do not name the function, as MBPP's: the first assert stands below, and shows it.",
        ),
        Template(
            "alpaca",
            "Below is an instruction that describes a task. Write a response that appropriately completes the "
            "request.\n\n### Instruction:\n{prompt}\n\n### Response:\n",
            about="Models that are tuned on instructions in Alpaca's form.",
        ),
        Template(
            "bloomz",
            "{prompt}",
            completion=" {code}",
            about="BLOOMZ, tuned on xP3: inputs, one space that belongs to the targets, targets.",
        ),
    )
}
"""Name → template."""

CHAT_TEMPLATES = {
    "zephyr": (
        "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}{{ eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
}
"""Name → Jinja text, for bases that have no chat template. Zephyr's (arXiv 2310.16944) ends turns with the EOS, which
every base knows, and needs no further special token."""


def template(name: str) -> Template:
    """The template of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TEMPLATES:
        raise ConfigError(f"no template {name!r}: {suggest(name, TEMPLATES)}")
    return TEMPLATES[name]


def render(name: str, problem: Problem) -> str:
    """The final prompt text of a problem.

    Raises:
        ConfigError: there is no such template.
        DataError: the problem does not fit it.
    """
    chosen = template(name)
    if not chosen.docstring_first:
        return chosen.prompt.format(prompt=prompt_text(problem), example=_example(problem))
    docstring, head = _split_docstring(problem)
    return chosen.prompt.format(docstring=docstring, head=head)


def completion_text(name: str, code: str) -> str:
    """The final completion text of a program.

    Raises:
        ConfigError: there is no such template, or it is for evaluation only.
    """
    chosen = template(name)
    if chosen.completion is None:
        raise ConfigError(f"template {name!r} ends inside the answer's function: it prompts, it cannot train")
    return chosen.completion.format(code=code)


def prompt_text(problem: Problem) -> str:
    """The prompt as text: a text prompt as it is, or the one user turn of a chat.

    Raises:
        DataError: the chat has other turns.
    """
    if isinstance(problem.prompt, str):
        return problem.prompt
    if len(problem.prompt) == 1 and problem.prompt[0].role == "user":
        return problem.prompt[0].content
    raise DataError(
        f"problem {problem.id}: its prompt is a chat of {len(problem.prompt)} turns; one user turn is needed"
    )


def _example(problem: Problem) -> str:
    """The first of a problem's asserts on a line of its own; nothing where it has none."""
    shown = problem.tests[0].strip() if problem.tests and problem.test_kind == "asserts" else ""
    return f"{shown}\n" if shown else ""


def _split_docstring(problem: Problem) -> tuple[str, str]:
    """(docstring, source before it) of a HumanEval-style prompt."""
    text = prompt_text(problem)
    try:
        functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError:
        functions = []
    # the last statement, not the first: in HumanEval/115 an import stands before the text
    last = functions[-1].body[-1] if functions else None
    if not (isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and isinstance(last.value.value, str)):
        raise DataError(f"problem {problem.id}: template 'humaneval' needs a prompt that ends with a docstring")
    return inspect.cleandoc(last.value.value), "".join(text.splitlines(keepends=True)[: last.lineno - 1])
