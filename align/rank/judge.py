"""A model as judge of responses that stand equal. It never sees a level's other responses, so it cannot move a level.

    from pathlib import Path
    from align import Problem, Response
    from align.rank.judge import Judge
    from align.rank.protocol import contests

    problem = Problem(prompt="Write add(a, b).")
    responses = [Response(problem_id=problem.id, text=text) for text in ("def add(a, b): ...", "add = sum")]
    judge = Judge(ask_my_model, model="my-model", cache=Path("judge.jsonl"))  # ask_my_model: prompt -> reply
    for scores in judge.rank(contests([problem], responses)):
        print(scores.values)  # response id -> score; equal scores are a tie
    print(judge.figures.warnings())

`pairwise`: every pair in both orders; orders that disagree are a tie; Bradley–Terry over the round robin. `pointwise`:
one question a response, and a margin below which scores are a tie. Models are not named to the judge. What a reply
means is read in `judgement`, how far the judge can be trusted is in `judge_report`. Loads no torch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import ConfigError, suggest
from ..generate.ask import Prompts, derive_seed
from ..generate.request import Generator, Reply, Request, Sampling
from ..models.family import same_family
from ..schema import Problem, Ranking, Response
from .comparison import Comparison
from .duel import Duel, audit_duels, contest_duels
from .judge_prompt import RUBRICS, answers_block, problem_text, response_text
from .judge_report import JudgeReport
from .judgement import PAIR_FORM, SCORE_FORM, Read, read_choice, read_score
from .protocol import Contest, Scores, shown_groups
from .questions import Calls, ask
from .schedule import schedule
from .tally import by_comparisons, by_grades, scored_pairs, vote

Mode = Literal["pairwise", "pointwise"]
GREEDY = Sampling(temperature=0.0, max_new_tokens=1024)
MOST_CHARACTERS = 20_000
_VOTES = {"A": 1, "B": -1, "tie": 0}


class Judge:
    """Orders the responses of a contest by a model's verdicts.

    Args:
        judge: a `Generator`, or a function from prompt to reply.
        model: the judge's model, for its family and for the cache.
        mode: `pairwise`, or `pointwise`: n questions in the place of n (n − 1), and less reliable.
        rubrics: what it judges by, each asked apart; their verdicts count alike.
        margin: pointwise: least difference that is no tie, in points of 1 to 10.
        prompts: templates of your own for `judge_<rubric>`.
        sampling: of the judge's replies.
        seed: of its sampling, and of who meets whom where responses are more than 8.
        cache: a file of its replies that survives the call; endpoints keep their own.
        max_requests: most questions asked in one call, beside those that the cache answers.
        candidates: `Response.model` → its model's real name, for the check of families.
        max_characters: a longer response is not shown, and not ranked.

    Raises:
        ConfigError: there is no such rubric.
    """

    name = "judge"

    def __init__(
        self,
        judge: Generator | Callable[[str], str],
        *,
        model: str = "judge",
        mode: Mode = "pairwise",
        rubrics: Sequence[str] = ("correctness",),
        margin: float = 1.0,
        prompts: Prompts | None = None,
        sampling: Sampling = GREEDY,
        seed: int = 0,
        cache: Path | None = None,
        max_requests: int | None = None,
        candidates: Mapping[str, str] | None = None,
        max_characters: int = MOST_CHARACTERS,
    ) -> None:
        for rubric in rubrics or [""]:
            if rubric not in RUBRICS:
                raise ConfigError(f"rubrics: no rubric {rubric!r}: {suggest(rubric, RUBRICS)}")
        self._generator = cast(Generator, judge) if hasattr(judge, "generate") else Calls(judge)
        self._model, self._mode, self._rubrics, self._margin = model, mode, tuple(rubrics), margin
        self._prompts, self._sampling, self._seed = prompts or Prompts(), sampling, seed
        self._cache, self._max_requests, self._candidates = cache, max_requests, candidates or {}
        self._max_characters = max_characters
        self.figures = JudgeReport()

    def rank(self, contests: Iterable[Contest]) -> Iterator[Scores]:
        """One `Scores` a contest, in order; all questions are asked before the first is given.

        Raises:
            BackendError: the judge fails, or a limit is reached; what it answered is kept.
        """
        held = list(contests)
        self._check_families(response.model for contest in held for response in contest.responses)
        texts = [[self.shown(response) for response in contest.responses] for contest in held]
        self.figures.too_long += sum(text is None for found in texts for text in found)
        yield from (self._pairwise if self._mode == "pairwise" else self._pointwise)(held, texts)

    def audit(
        self,
        problems: Iterable[Problem],
        responses: Sequence[Response],
        rankings: Iterable[Ranking],
        most: int = 100,
    ) -> None:
        """Compare pairs whose order execution has decided, one a problem, by correctness: for the report alone.

        Args:
            problems: the problems.
            responses: the responses that were ranked.
            rankings: what execution says; a pair is drawn from two of a problem's tiers.
            most: pairs that are compared.

        Raises:
            BackendError: as `rank`.
        """
        duels = audit_duels(problems, responses, rankings, self.shown, most, self._seed)
        compared = self._compare if self._mode == "pairwise" else self._compare_scores
        self.figures.audit += [replace(one, truth=1) for one in compared(duels, (RUBRICS[0],))]

    def report(self) -> dict[str, Any]:
        """All figures so far as plain data."""
        return self.figures.as_dict()

    def shown(self, response: Response) -> str | None:
        """What the judge sees of a response: its program, or its text without thinking; None: it is too long."""
        text = response_text(response)
        return text if len(text) <= self._max_characters else None

    def _check_families(self, labels: Iterable[str]) -> None:
        names = {label: self._candidates.get(label, label) for label in labels if label}
        found = same_family(self._model, names)
        self.figures.same_family = sorted({*self.figures.same_family, *found})

    def _pairwise(self, held: Sequence[Contest], texts: Sequence[Sequence[str | None]]) -> Iterator[Scores]:
        drawn = [contest_duels(contest, found, self._seed) for contest, found in zip(held, texts, strict=True)]
        compared = self._compare([duel for duels in drawn for duel in duels], self._rubrics)
        self.figures.comparisons += compared
        rest = iter(compared)
        for contest, found, duels in zip(held, texts, drawn, strict=True):
            yield by_comparisons(contest, found, list(islice(rest, len(duels) * len(self._rubrics))))

    def _compare(self, duels: Sequence[Duel], rubrics: Sequence[str]) -> list[Comparison]:
        """A comparison for each pair and rubric, in order."""
        asked = [(duel, rubric) for duel in duels for rubric in rubrics]
        requests = []
        for duel, rubric in asked:
            requests.append(self._request(rubric, duel.problem, [duel.first_text, duel.second_text]))
            requests.append(self._request(rubric, duel.problem, [duel.second_text, duel.first_text]))
        reads = self._read(requests, read_choice)
        votes = [None if read.value is None else _VOTES[str(read.value)] for read in reads]
        return [
            _comparison(duel, (votes[2 * index], _swapped(votes[2 * index + 1])), rubric)
            for index, (duel, rubric) in enumerate(asked)
        ]

    def _pointwise(self, held: Sequence[Contest], texts: Sequence[Sequence[str | None]]) -> Iterator[Scores]:
        asked = []
        for contest, found in zip(held, texts, strict=True):
            by_id = {response.id: text for response, text in zip(contest.responses, found, strict=True)}
            asked += [(contest.problem, by_id[group[0]] or "") for group in shown_groups(contest, found)]
        rest = iter(self._grade(asked, self._rubrics))
        for contest, found in zip(held, texts, strict=True):
            groups = shown_groups(contest, found)
            grades = list(islice(rest, len(groups)))
            lengths = {response.id: len(text or "") for response, text in zip(contest.responses, found, strict=True)}
            graded = [
                (group[0], lengths[group[0]], sum(given) / len(given))
                for group, given in zip(groups, grades, strict=True)
                if given is not None
            ]
            self.figures.comparisons += scored_pairs(contest.problem.id, graded, self._margin)
            yield by_grades(contest, found, grades, self._margin)

    def _grade(self, asked: Sequence[tuple[Problem, str]], rubrics: Sequence[str]) -> list[list[int] | None]:
        """For each text one score a rubric; None where one of them cannot be read."""
        requests = [self._request(rubric, problem, [text]) for problem, text in asked for rubric in rubrics]
        values = [read.value for read in self._read(requests, read_score)]
        self.figures.scores.update(value for value in values if isinstance(value, int))
        width = len(rubrics)
        rows = [values[start : start + width] for start in range(0, len(values), width)]
        return [None if None in row else [int(value or 0) for value in row] for row in rows]

    def _compare_scores(self, duels: Sequence[Duel], rubrics: Sequence[str]) -> list[Comparison]:
        """A comparison for each pair by the scores of its two sides."""
        texts = [(duel.problem, text) for duel in duels for text in (duel.first_text, duel.second_text)]
        grades = self._grade(texts, rubrics)
        found = []
        for duel, mine, theirs in zip(duels, grades[::2], grades[1::2], strict=True):
            given = None
            if mine is not None and theirs is not None:
                given = vote(sum(mine) / len(mine), sum(theirs) / len(theirs), self._margin)
            found.append(_comparison(duel, (given,)))
        return found

    def _read(self, requests: Sequence[Request], read: Callable[[Reply], Read]) -> list[Read]:
        replies = ask(
            self._generator,
            requests,
            identity=self._model,
            label=f"judge: {self._model}",
            cache=self._cache,
            max_requests=self._max_requests,
        )
        found = [read(reply) for reply in replies]
        self.figures.questions += len(found)
        self.figures.failures.update(one.failure for one in found if one.failure)
        return found

    def _request(self, rubric: str, problem: Problem, texts: Sequence[str]) -> Request:
        shown = problem_text(problem)
        fields = {
            "problem": shown,
            "answers": answers_block(shown, texts),
            "form": PAIR_FORM if len(texts) == 2 else SCORE_FORM,
        }
        seed = derive_seed("judge", self._seed, problem.id, rubric)
        return self._prompts.ask(f"judge_{rubric}", fields, self._sampling, seed)


def questions(n: int, mode: Mode = "pairwise", rubrics: int = 1) -> int:
    """Questions about one contest of n different responses."""
    return rubrics * (2 * len(schedule(n, 0)) if mode == "pairwise" else n)


def _comparison(duel: Duel, votes: tuple[int | None, ...], rubric: str = "") -> Comparison:
    lengths = (len(duel.first_text), len(duel.second_text))
    return Comparison(duel.problem.id, duel.first, duel.second, votes, lengths, rubric=rubric)


def _swapped(vote: int | None) -> int | None:
    return None if vote is None else -vote
