"""Look for benchmarks in rows of training data: by text one row at a time, by execution for many. Drops nothing."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import ConfigError, suggest
from ...execute import Pool
from ...execute.isolation import Requested
from ...schema import Problem
from .execution import Examined, Examiner
from .hit import METHODS, Hit, Method
from .matchers import MATCHERS, Row
from .sought import sought

NGRAM = 13
"""Words in a run, as for GPT-3 (arXiv 2005.14165). Problems that merely resemble each other share ten: of 12,000
problems of the offline family 45 % share ten words with its 1,000 held-out ones, 12 % share thirteen."""
DEFAULT: tuple[Method, ...] = ("substring", "ngram")


class Decontaminator:
    """Benchmarks that rows are compared with. Can be pickled, and survives `fork`.

    Args:
        benchmarks: names, each with the problems that must not be trained on.
        methods: which of `METHODS` are used.
        ngram: words in a run that a row may not share with a prompt.

    Attributes:
        examined: what the latest `by_execution` ran.

    Raises:
        ConfigError: there is no such method.
        DataError: a prompt is a chat of several turns.
    """

    def __init__(
        self,
        benchmarks: Sequence[tuple[str, Sequence[Problem]]],
        *,
        methods: Sequence[str] = DEFAULT,
        ngram: int = NGRAM,
    ) -> None:
        for name in methods:
            if name not in METHODS:
                raise ConfigError(f"decontaminate: no method {name!r}: {suggest(name, METHODS)}")
        self.methods: tuple[Method, ...] = tuple(name for name in METHODS if name in methods)
        self.sought = sought(benchmarks)
        self.examined = Examined()
        self._matchers = [kind(self.sought, ngram) for name, kind in MATCHERS.items() if name in self.methods]

    def check(self, text: str, code: str | None = None) -> Hit | None:
        """What the text methods find in one row; None where they find nothing.

        Args:
            text: what the row says: its prompt, and its answer where that is not all code.
            code: its program, where it is known; without it, program text is looked for in the text.
        """
        row = Row(text, code)
        return next((hit for matcher in self._matchers if (hit := matcher(row)) is not None), None)

    def by_execution(
        self,
        rows: Iterable[tuple[int, str]],
        *,
        workers: int | None = None,
        isolation: Requested = "auto",
        cache: Path | None = None,
    ) -> Iterator[tuple[int, Hit]]:
        """The rows whose programs pass all tests of a benchmark's problem, in order; see `execution`.

        Args:
            rows: any numbers, each with a program or an answer that holds one; read lazily.
            workers: programs run at once; the number of cores by default.
            isolation: `auto` (level A, or refuse), `A`, `B` or `none`.
            cache: a file of results that survives the call.

        Raises:
            BackendError: programs cannot be run on this machine.
        """
        with Pool(workers, isolation=isolation, cache=cache) as pool:
            examiner = Examiner(self.sought, pool, self.examined)
            yield from examiner.find(rows)
