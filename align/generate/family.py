"""The offline family: short English pipelines over a list, a string or an integer, each with one right program.

    # f(xs): keep multiples of 3, then rotate left by 2, then return the total.

An operation has phrasings, code and typical bugs; a problem is up to three of them, the last of which returns. A
problem's text is read back into its operations, so nothing is hidden beside it. Programs are run in this process:
an offline folder is code, and is trusted like code.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from ..errors import DataError
from ..io import read
from ..models.entry import OPERATIONS
from ..schema import Record

Domain = Literal["list", "str", "int"]
VARIABLE: dict[str, str] = {"list": "xs", "str": "s", "int": "n"}
"""Domain → name of the parameter, which tells the domain in a problem's text."""
LETTERS = "abcdeioprst"
MAX_OPERATIONS = 3
HELD_OUT_PART = 5
"""One in so many ordered sets of operations is held out."""

_TEXT = re.compile(r"# f\((xs|s|n)\): (?:(.*), then )?return (.*)\.")
_VALUE = re.compile(r"\d+|'[a-z]'")


class Operation(Record):
    """One line of `operations.jsonl`."""

    name: str
    domain: Domain
    kind: Literal["step", "end"]
    """A step assigns to the parameter; an end is the returned expression."""
    phrasings: list[str]
    """Ways to say it, over `{k}`, `{c}` and `{d}`."""
    code: str
    """What it does, in Python; `{k1}` is k + 1."""
    bugs: list[str]
    """Typical wrong code, the most typical first."""
    k: list[int] | None = None
    """Smallest and largest number."""
    letters: bool = False
    """Whether it is about letters."""
    filter: bool = False
    """Whether it constrains the input: evolution puts such a step first."""
    tricky: bool = False
    """Whether it is one that a noisy teacher gets wrong again and again."""


@dataclass(frozen=True)
class Step:
    """An operation with its values."""

    operation: Operation = field(compare=False)
    name: str
    k: int = 0
    c: str = ""
    d: str = ""
    phrasing: int = field(default=0, compare=False)

    def fill(self, text: str) -> str:
        """A phrasing, code or bug with the values in."""
        return text.format(k=self.k, k1=self.k + 1, c=self.c, d=self.d)


@dataclass(frozen=True)
class Task:
    """A problem as operations. Equal tasks may be worded differently."""

    domain: Domain
    steps: tuple[Step, ...]

    @property
    def text(self) -> str:
        """The problem."""
        phrases = [step.fill(step.operation.phrasings[step.phrasing]) for step in self.steps]
        return f"# f({VARIABLE[self.domain]}): " + ", then ".join([*phrases[:-1], f"return {phrases[-1]}"]) + "."

    @property
    def is_held_out(self) -> bool:
        """Whether it is for evaluation: decided by its operations and their order, not by values or wording."""
        names = f"{self.domain}:" + ",".join(step.name for step in self.steps)
        drawn = int.from_bytes(hashlib.sha256(names.encode()).digest()[:4], "big")
        return len(self.steps) >= MAX_OPERATIONS and drawn % HELD_OUT_PART == 0

    def program(self, code: Callable[[Step], str] = lambda step: step.operation.code) -> str:
        """The right program, or another where `code` gives other code for a step."""
        lines = [step.fill(code(step)) for step in self.steps]
        body = "".join(f"    {line}\n" for line in [*lines[:-1], f"return {lines[-1]}"])
        return f"def f({VARIABLE[self.domain]}):\n{body}".rstrip()

    def inputs(self, count: int, salt: str) -> list[Any]:
        """`count` different inputs: around the values, the empty one, then random ones that the salt decides."""
        random = Random(f"{salt}|{self.text}")
        found: list[Any] = []
        waiting = [*self.probes(), _EMPTY[self.domain]]
        while len(found) < count:
            drawn = waiting.pop(0) if waiting else _DRAW[self.domain](random)
            if drawn not in found:
                found.append(drawn)
        return found

    def probes(self) -> list[Any]:
        """Inputs just below, at and above every value that the problem names."""
        numbers = sorted({step.k for step in self.steps if step.operation.k})
        letters = "".join(dict.fromkeys(step.c + step.d for step in self.steps if step.c))
        if self.domain == "int":
            return list(dict.fromkeys(n for k in numbers for n in (k - 1, k, k + 1)))
        if self.domain == "list":
            return [[n for k in numbers for n in (k - 1, k, k + 1, 2 * k, k)]] if numbers else []
        around = ["pastries Prepared"[:n] for k in numbers for n in (k, k + 1)]
        return list(dict.fromkeys([*around, *([f"{letters}a{letters} {letters[0]}"] if letters else [])]))

    def outputs(self, inputs: Sequence[Any]) -> list[Any]:
        """What the right program returns."""
        function = compiled(self.program())
        return [function(list(given) if self.domain == "list" else given) for given in inputs]

    def is_vacuous(self) -> bool:
        """Whether one constant answers everything that is tried."""
        return len({repr(output) for output in self.outputs(self.inputs(10, "vacuous"))}) == 1


class Family:
    """The operations of a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / OPERATIONS
        self.operations = {operation.name: operation for operation in read(self.path, Operation)}
        self.kinds: dict[tuple[str, str], list[Operation]] = {}
        self._phrases: dict[tuple[str, str, str], tuple[Operation, int, re.Pattern[str]]] = {}
        for operation in self.operations.values():
            self.kinds.setdefault((operation.domain, operation.kind), []).append(operation)
            for number, phrasing in enumerate(operation.phrasings):
                self._add_phrase(operation, number, phrasing)

    def _add_phrase(self, operation: Operation, number: int, phrasing: str) -> None:
        example = Step(operation, operation.name, k=1, c="a", d="b").fill(phrasing)
        shape = (operation.domain, operation.kind, _VALUE.sub("@", example))
        if shape in self._phrases:
            other = self._phrases[shape][0].name
            raise DataError(f"{self.path}: {phrasing!r} is said by {operation.name} and by {other}: reword one")
        self._phrases[shape] = (operation, number, _phrase_pattern(phrasing))

    def claims(self, text: str) -> bool:
        """Whether a text has the form of this family's problems."""
        return _TEXT.fullmatch(text.strip()) is not None

    def read(self, text: str) -> Task:
        """The task that a problem's text describes.

        Raises:
            DataError: the text is not of this family.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise DataError(f"the offline model cannot read {text[:80]!r}: expected '# f(xs): …, then return ….'")
        domain = next(domain for domain, name in VARIABLE.items() if name == match[1])
        phrases = match[2].split(", then ") if match[2] else []
        steps = [self._read_step(domain, "step", phrase) for phrase in phrases]
        return Task(domain, (*steps, self._read_step(domain, "end", match[3])))  # type: ignore[arg-type]

    def _read_step(self, domain: str, kind: str, phrase: str) -> Step:
        found = self._phrases.get((domain, kind, _VALUE.sub("@", phrase)))
        match = found and found[2].fullmatch(phrase)
        if not found or not match:
            raise DataError(f"the offline model knows no operation {phrase!r} on a {domain}")
        values = match.groupdict()
        operation, number, _ = found
        k = int(values.get("k") or 0)
        return Step(operation, operation.name, k, values.get("c") or "", values.get("d") or "", number)

    def draw(self, domain: str, kind: str, random: Random) -> Step:
        """Any operation of a kind, with random values and wording."""
        return draw_values(random.choice(self.kinds[domain, kind]), random)


def draw_values(operation: Operation, random: Random) -> Step:
    """The operation with random values and wording."""
    k = random.randint(*operation.k) if operation.k else 0
    # only a replacement names a second letter; elsewhere it would make equal steps differ
    names_two = any("{d}" in phrasing for phrasing in operation.phrasings)
    c, d = random.sample(LETTERS, 2) if operation.letters else ("", "")
    return Step(operation, operation.name, k, c, d if names_two else "", random.randrange(len(operation.phrasings)))


@functools.lru_cache(maxsize=1 << 14)
def compiled(program: str) -> Callable[[Any], Any]:
    """The function `f` of a program of this family."""
    space: dict[str, Any] = {}
    exec(compile(program, "<offline>", "exec"), space)
    function: Callable[[Any], Any] = space["f"]
    return function


def _phrase_pattern(phrasing: str) -> re.Pattern[str]:
    """A regular expression with the groups k, c and d; a value named twice must be the same twice."""
    pattern = re.escape(phrasing)
    for name, value in (("k", r"\d+"), ("c", "[a-z]"), ("d", "[a-z]")):
        placeholder = re.escape(f"{{{name}}}")
        pattern = pattern.replace(placeholder, f"(?P<{name}>{value})", 1).replace(placeholder, f"(?P={name})")
    return re.compile(pattern)


def _draw_list(random: Random) -> list[int]:
    return [random.randint(-6, 14) for _ in range(random.randint(3, 10))]


def _draw_text(random: Random) -> str:
    sizes = [random.randint(1, 6) for _ in range(random.randint(1, 4))]
    return " ".join("".join(random.choices("aabcdeeiioprstAEPRT", k=size)) for size in sizes)


_DRAW: dict[str, Callable[[Random], Any]] = {
    "list": _draw_list,
    "str": _draw_text,
    "int": lambda random: random.randint(-150, 999),
}
_EMPTY: dict[str, Any] = {"list": [], "str": "", "int": 0}
