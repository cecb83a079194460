"""A ranker by people's labels from a file: scores, ranks, or pairs. Checks that the file is of these responses."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import model_validator

from ..errors import DataError
from ..io import scan
from ..schema import Problem, Record, Response
from .bradley_terry import bradley_terry, win_chance
from .protocol import Contest, Pair, Scores, pair
from .tally import DIGITS, largest_part
from .unit_tests import index_problems


class Label(Record):
    """One line: `{problem_id, response_id, score}`, `{problem_id, response_id, rank}` or `{problem_id, chosen,
    rejected}`. Ids are ours, or the user's own that ride in `meta`."""

    problem_id: str
    """Id of the problem."""
    response_id: str | None = None
    """Id of the response that is scored or ranked."""
    score: float | None = None
    """Higher is better."""
    rank: int | None = None
    """1 is best; equal ranks are a tie."""
    chosen: str | None = None
    """Id of the better response of a pair."""
    rejected: str | None = None
    """Id of the worse one."""
    annotator: str | None = None
    """Who says so."""

    @model_validator(mode="after")
    def _is_one_form(self) -> "Label":
        given = self.model_dump(exclude={"problem_id", "annotator"}, exclude_none=True).keys()
        if given not in ({"response_id", "score"}, {"response_id", "rank"}, {"chosen", "rejected"}):
            raise ValueError("expected response_id and score, response_id and rank, or chosen and rejected")
        return self

    @property
    def form(self) -> str:
        """`score`, `rank` or `pair`."""
        return "pair" if self.chosen else "score" if self.score is not None else "rank"


class Labels:
    """Orders by labels: the mean of a response's scores or ranks, or Bradley–Terry over pairs.

    Args:
        path: the labels, JSON Lines or an array.
        problems: all problems that are ranked.
        responses: all responses that are ranked.

    Raises:
        DataError: with `file:line`: a label of an unknown problem or response, or two forms in one file.
    """

    name = "labels"

    def __init__(self, path: str | Path, problems: Iterable[Problem], responses: Sequence[Response]) -> None:
        index = index_problems(problems)
        owned = _response_index(responses, index)
        self._points: dict[str, list[float]] = defaultdict(list)
        self._pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._form, self._rows, self._used = "", 0, 0
        strays: list[str] = []
        for where, label in scan(path, Label):
            self._rows += 1
            if label.problem_id not in index:
                strays.append(f"{where}: no problem {label.problem_id!r} among those that are ranked")
                continue
            if self._form not in ("", label.form):
                raise DataError(f"{where}: a {label.form} in a file of {self._form}s: keep each form in its own file")
            self._form = label.form
            self._add(label, where, index[label.problem_id].id, owned)
        if strays and len(strays) == self._rows:
            raise DataError(f"{path}: none of its {self._rows} labels is of these problems: it is of another set")
        if strays:
            raise DataError(f"{strays[0]} ({len(strays)} such labels): remove them, or rank their problems, too")

    def rank(self, contests: Iterable[Contest]) -> Iterator[Scores]:
        """The labels' scores; a response without a label has none."""
        for contest in contests:
            ids = [response.id for response in contest.responses]
            if self._form == "pair":
                yield self._by_pairs(contest.problem.id, ids)
                continue
            values = {one: sum(self._points[one]) / len(self._points[one]) for one in ids if one in self._points}
            self._used += len(values)
            yield Scores(contest.problem.id, values)

    def report(self) -> dict[str, Any]:
        """How many labels there are, of which form, and how many responses of the contests have one."""
        return {"labels": self._rows, "form": self._form, "labelled": self._used}

    def _add(self, label: Label, where: str, problem_id: str, owned: Mapping[tuple[str, str], str]) -> None:
        def known(response_id: str | None) -> str:
            found = owned.get((problem_id, response_id or ""))
            if found is None:
                raise DataError(
                    f"{where}: problem {label.problem_id!r} has no response {response_id!r}: "
                    "the labels are of other responses"
                )
            return found

        if label.form == "pair":
            self._pairs[problem_id].append((known(label.chosen), known(label.rejected)))
        else:
            value = label.score if label.score is not None else -float(label.rank or 0)
            self._points[known(label.response_id)].append(value)

    def _by_pairs(self, problem_id: str, ids: Sequence[str]) -> Scores:
        wins: dict[tuple[str, str], int] = defaultdict(int)
        for chosen, rejected in self._pairs.get(problem_id, ()):
            if chosen in ids and rejected in ids and chosen != rejected:
                wins[chosen, rejected] += 1
        players = sorted({one for edge in wins for one in edge})
        place = {one: index for index, one in enumerate(players)}
        games = {(place[one], place[other]): float(n) for (one, other), n in wins.items()}
        theta = bradley_terry(len(players), games)
        # numbers of parts that no pair joins cannot be compared
        values = {
            players[index]: round(win_chance(theta[index]), DIGITS) for index in largest_part(len(players), games)
        }
        undecided: set[Pair] = set()
        for one, other in wins:
            margin = wins[one, other] - wins.get((other, one), 0)
            if one in values and margin * (values[one] - values[other]) <= 0:
                undecided.add(pair(one, other))
        self._used += len(values)
        return Scores(problem_id, values, frozenset(undecided))


def _response_index(responses: Sequence[Response], index: Mapping[str, Problem]) -> dict[tuple[str, str], str]:
    """(problem id, response id or the user's own id of it) → response id."""
    found: dict[tuple[str, str], str] = {}
    for response in responses:
        problem = index.get(response.problem_id)
        if problem is None:
            continue
        for own in ("response_id", "id"):
            if own in response.meta:
                found.setdefault((problem.id, str(response.meta[own])), response.id)
        found[problem.id, response.id] = response.id
    return found
