"""The text methods: each compares one row with all problems of all benchmarks. Runs nothing.

`substring` finds the prose of a statement, or the body of a reference, word for word (BigCode's way); `ngram` a run of
words of a prompt, or of a reference's tokens under any names; `near` a statement or a reference that most of a row
resembles. None of them finds a problem told in other words: that is `execution`.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

from ...execute import extract_code
from ...text.similarity import words
from .hit import Hit, Method
from .sought import MIN_TOKENS, MIN_WORDS, Sought, bodies, prose
from .texts import Runs, Shingles, Whole
from .tokens import code_tokens

CODE_NGRAM = 40
"""Tokens in a run of program text, names made equal."""
NEAR, SHINGLE = 0.5, 3
"""Jaccard similarity of statements, and words in a shingle."""
CODE_NEAR, CODE_SHINGLE = 0.7, 5
"""The same of functions' bodies, in tokens with names made equal. `CODE_NGRAM`, `CODE_NEAR` and `sought.MIN_TOKENS`
were chosen on the rows of `scripts/bench/decontamination.py`, as low as rejects none of its clean ones but those that
do solve a benchmark's problem; few of these are programs by other hands."""
ANCHOR = 6
"""Words or tokens by which a whole text's beginning is looked up."""
SHOWN = 13
"""Words of evidence that are shown."""


class Row:
    """One row's text and program as the methods compare them; each form is made once, and only if it is needed."""

    def __init__(self, text: str, code: str | None) -> None:
        self.text, self.code = text, code

    @cached_property
    def words(self) -> list[list[str]]:
        """Of the text, and of the program where it is apart."""
        apart = self.code is not None and self.code not in self.text
        return [words(self.text), *([words(self.code)] if apart and self.code else [])]

    @cached_property
    def statement(self) -> list[str]:
        """Words of the text's prose."""
        return words(prose(self.text))

    @cached_property
    def tokens(self) -> list[str]:
        """Of the program; of the text where there is none."""
        return code_tokens(self.text if self.code is None else self.code)

    @cached_property
    def renamed(self) -> list[str]:
        """The same with names made equal."""
        return code_tokens(self.text if self.code is None else self.code, renamed=True)

    @cached_property
    def bodies(self) -> list[list[str]]:
        """The same of each of its functions, without head and docstring."""
        source = self.code
        if source is None and "def " in self.text:
            source = extract_code(self.text)
        return [code_tokens(own, renamed=True) for _, own in bodies(source or "")]


class Substring:
    """Statements and solutions that stand in a row whole."""

    def __init__(self, sought: Sequence[Sought], ngram: int) -> None:
        self._sought = sought
        own = [(number, one) for number, one in enumerate(sought)]
        self._statements = Whole(((number, one.statement) for number, one in own), ANCHOR)
        self._solutions = Whole(
            ((number, code_tokens(one.solution)) for number, one in own if not one.is_trivial), ANCHOR
        )

    def __call__(self, row: Row) -> Hit | None:
        for tokens in row.words:
            if (found := self._statements.find(tokens)) is not None:
                return self._hit(found[0], f"its statement: {shown(found[1])}")
        if (found := self._solutions.find(row.tokens)) is not None:
            return self._hit(found[0], f"its solution: {shown(found[1])}")
        return None

    def _hit(self, number: int, evidence: str) -> Hit:
        return hit("substring", self._sought[number], evidence)


class Overlap:
    """Runs of words of a prompt, and of tokens of a reference."""

    def __init__(self, sought: Sequence[Sought], ngram: int) -> None:
        self._sought, self._ngram = sought, ngram
        self._prompts = Runs(((number, words(one.prompt)) for number, one in enumerate(sought)), ngram)
        self._solutions = Runs(
            (
                (number, tokens)
                for number, one in enumerate(sought)
                if len(tokens := code_tokens(one.solution, renamed=True)) >= CODE_NGRAM
            ),
            CODE_NGRAM,
        )

    def __call__(self, row: Row) -> Hit | None:
        for tokens in row.words:
            if (found := self._prompts.find(tokens)) is not None:
                return hit("ngram", self._sought[found[0]], " ".join(found[1]))
        if (found := self._solutions.find(row.renamed)) is not None:
            return hit("ngram", self._sought[found[0]], f"{CODE_NGRAM} tokens of its solution: {shown(found[1])}")
        return None


class Near:
    """Statements and solutions that a row resembles."""

    def __init__(self, sought: Sequence[Sought], ngram: int) -> None:
        self._sought = sought
        own = [(number, one) for number, one in enumerate(sought)]
        self._statements = Shingles(((number, one.statement) for number, one in own if one.statement), SHINGLE, NEAR)
        self._solutions = Shingles(
            ((number, code_tokens(one.solution, renamed=True)) for number, one in own if not one.is_trivial),
            CODE_SHINGLE,
            CODE_NEAR,
        )

    def __call__(self, row: Row) -> Hit | None:
        if len(row.statement) >= MIN_WORDS and (found := self._statements.find(row.statement)) is not None:
            return hit("near", self._sought[found[0]], f"statements with a Jaccard similarity of {found[1]:.2f}")
        for tokens in row.bodies:
            if len(tokens) >= MIN_TOKENS and (found := self._solutions.find(tokens)) is not None:
                return hit("near", self._sought[found[0]], f"functions with a Jaccard similarity of {found[1]:.2f}")
        return None


Matcher = Callable[[Row], Hit | None]
MATCHERS: dict[Method, Callable[[Sequence[Sought], int], Matcher]] = {
    "substring": Substring,
    "ngram": Overlap,
    "near": Near,
}
"""Method → what makes its matcher from what is sought and the words in a run."""


def hit(method: Method, one: Sought, evidence: str) -> Hit:
    """A Hit on one problem."""
    return Hit(method, one.benchmark, one.name, evidence)


def shown(tokens: Sequence[str]) -> str:
    """The beginning of a run."""
    return " ".join(tokens[:SHOWN]) + (" …" if len(tokens) > SHOWN else "")
