"""Clean any number of problems: the checks of each, then duplicates, near-duplicates, and runs on benchmarks' tests.

Problems are read once and lie in a file meanwhile; memory takes about 100 bytes a problem, and 200 for each band that
two share (`align.clean.near`). The order is fixed, so what is dropped does not depend on the number of workers. A run
that is ended begins again, but for the results of programs (`CACHE`): records, keys, sketches and bands would have to
be kept in step through a kill, and nothing in them is paid for.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..execute.isolation import Requested
from ..progress import progress
from ..schema import Problem
from .checks import Checked, Checks, Rules
from .duplicates import first_of_equal
from .near import Finder
from .quality import Fault
from .workers import ordered

CHUNK = 256
"""Problems that a worker takes at a time."""
CACHE = ".executions.sqlite"
"""Results of programs: they outlast a run that is ended."""


class Cleaned(NamedTuple):
    """One problem at the end."""

    line: str
    """Its record as JSON."""
    fault: Fault | None
    """Why it goes; None: it stays."""

    @property
    def rejected(self) -> str:
        """The line of `rejected.jsonl`: a `Rejected` as JSON."""
        assert self.fault is not None
        reason, detail = (json.dumps(text, ensure_ascii=False) for text in self.fault)
        return f'{{"reason":{reason},"detail":{detail},"record":{self.line}}}'


class Chain:
    """One cleaning.

    Args:
        rules: what is dropped.
        folder: takes files while it runs; they have no names and go with the process.
        workers: processes for the checks; None: as many as cores.
        isolation: of programs, where the benchmarks' tests are run.
        label: of the progress bar.
    """

    def __init__(
        self,
        rules: Rules,
        folder: Path,
        *,
        workers: int | None = None,
        isolation: Requested = "auto",
        label: str = "clean",
    ) -> None:
        self._rules, self._folder, self._workers = rules, folder, workers
        self._isolation, self._label = isolation, label
        self.notes: Counter[str] = Counter()
        """How many problems were changed, and by what."""
        self.faults: Counter[str] = Counter()
        """Problems dropped so far, by reason."""

    def run(self, problems: Iterable[Problem]) -> Iterator[Cleaned]:
        """Every problem in order with its fate.

        Raises:
            DataError: a prompt is a chat of several turns.
            BackendError: a library or the isolation of programs is missing, or a worker was killed.
        """
        with tempfile.TemporaryFile(
            "w+", dir=self._folder, encoding="utf-8", errors="backslashreplace", newline="\n"
        ) as spool:
            later = self._later(spool, self._first_pass(problems, spool))
            for row, (line, fault) in enumerate(_spooled(spool)):
                why = fault or later.get(row)
                if why:
                    self.faults[why.reason] += 1
                yield Cleaned(line, why)

    def _first_pass(self, problems: Iterable[Problem], spool: Any) -> "_Compared":
        """The checks of each problem; its record goes to the spool with the fault."""
        found = _Compared(self._folder, self._rules)
        with progress(self._label) as bar:
            for checked in ordered(Checks(self._rules), _chunks(problems), self._workers):
                found.add(checked)
                self.notes += checked.notes
                for line, fault in zip(checked.lines, checked.faults, strict=True):
                    spool.write(f"{json.dumps(fault, ensure_ascii=False) if fault else ''}\n{line}\n")
                bar.advance(len(checked.lines))
        return found

    def _later(self, spool: Any, compared: "_Compared") -> "_Later":
        """What comparing the problems, and running them, finds."""
        later = compared.faults()
        decontaminator = self._rules.decontaminator
        if decontaminator is not None and "execution" in decontaminator.methods:
            left = (
                (row, code)
                for row, (line, fault) in enumerate(_spooled(spool))
                if fault is None and row not in later and (code := json.loads(line)["reference"])
            )
            found = decontaminator.by_execution(
                left, workers=self._workers, isolation=self._isolation, cache=self._folder / CACHE
            )
            for row, hit in found:
                later.others[row] = Fault("contaminated", hit.detail)
        return later


class _Later:
    """Faults found by comparison: arrays, since there may be many."""

    def __init__(self, ids: NDArray[np.uint64], of: NDArray[np.int64], similarity: NDArray[np.float64]) -> None:
        self._ids, self._of, self._similarity = ids, of, similarity
        self.others: dict[int, Fault] = {}

    def __contains__(self, row: int) -> bool:
        return row in self.others or bool(self._of[row] != row)

    def get(self, row: int) -> Fault | None:
        """Why a row goes."""
        of = int(self._of[row])
        if of == row:
            return self.others.get(row)
        kept, similarity = f"of {self._ids[of]:016x}", self._similarity[row]
        if np.isnan(similarity):
            return Fault("duplicate", kept)
        return Fault("near_duplicate", f"{kept}: Jaccard index {similarity:.3f}")


class _Compared:
    """Ids, keys and sketches of all problems."""

    def __init__(self, folder: Path, rules: Rules) -> None:
        self._ids: list[NDArray[np.uint64]] = []
        self._keys: list[NDArray[np.uint64]] = []
        self._alive: list[list[bool]] = []
        self._near = None if rules.near is None else Finder(folder, rules.near)

    def add(self, checked: Checked) -> None:
        self._ids.append(np.array([int(one, 16) for one in checked.ids], np.uint64))
        self._keys.append(checked.keys)
        self._alive.append(checked.comparable)
        if self._near is not None and checked.sketches is not None:
            self._near.add(checked.sketches)

    def faults(self) -> _Later:
        """Rows that repeat an earlier one, or are like one."""
        ids = np.concatenate([np.empty(0, np.uint64), *self._ids])
        alive = np.concatenate([np.empty(0, np.bool_), *self._alive]).astype(np.bool_)
        of, similarity = np.arange(len(ids)), np.full(len(ids), np.nan)
        rows = np.flatnonzero(alive)
        if len(rows):
            of[rows] = rows[first_of_equal(np.concatenate(self._keys)[rows])]
        if self._near is not None:
            with self._near as near:
                for match in near.find(alive & (of == np.arange(len(ids)))):
                    of[match.row], similarity[match.row] = match.of, match.similarity
            repeats = np.flatnonzero(of[of] != of)
            # a duplicate of a row that goes as a near-duplicate is told of the row that stays
            of[repeats] = of[of[repeats]]
        return _Later(ids, of, similarity)


def _chunks(problems: Iterable[Problem]) -> Iterator[list[Problem]]:
    chunk: list[Problem] = []
    for problem in problems:
        chunk.append(problem)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _spooled(spool: Any) -> Iterator[tuple[str, Fault | None]]:
    """(record, fault of the checks) of each row, in order."""
    spool.seek(0)
    for head in spool:
        # two lines a row; `\\n` cannot stand inside JSON
        yield next(spool).removesuffix("\n"), Fault(*json.loads(head)) if head != "\n" else None
