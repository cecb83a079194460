"""Local classifiers as rankers: a reward model scores each response, a pair model stands in for a judge.

Torch is loaded where one is made, not where this module is imported.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from ..errors import ConfigError
from ..generate.request import Batches, Reply, Request
from ..models.entry import Weights
from ..schema import Message, Problem, Response
from .judge_prompt import problem_text, response_text, sendable
from .protocol import Contest, Scores, shown_groups, with_margin

DIGITS = 4
"""Of rewards: the padding of a batch moves the last bits."""
CHOICES = {"A": "Verdict: A", "B": "Verdict: B", "TIE": "Verdict: tie"}
"""Labels of a pair model → what it is taken to say."""


class Reward:
    """Orders by a reward model: a transformers model for sequence classification with one label.

    Args:
        model: its entry, or its folder or hub id.
        margin: rewards that are less apart are a tie.
        whole_text: score the response's text, not the program cut out of it.

    Raises:
        ConfigError, DataError, BackendError: as `align.models.reward.Classifier`.
    """

    name = "reward"

    def __init__(self, model: Weights | str, *, margin: float = 0.0, whole_text: bool = False) -> None:
        self._classifier, self._margin, self._whole_text = _classifier(model), margin, whole_text
        self._scored = self._too_long = 0

    def rank(self, contests: Iterable[Contest]) -> Iterator[Scores]:
        """Rewards, as the model gives them; a response that is too long for it has none."""
        held = list(contests)
        texts = [[self._text(response) for response in contest.responses] for contest in held]
        grouped = [shown_groups(contest, found) for contest, found in zip(held, texts, strict=True)]
        by_id = {
            response.id: text
            for contest, found in zip(held, texts, strict=True)
            for response, text in zip(contest.responses, found, strict=True)
        }
        dialogues = [
            [*_turns(contest.problem), {"role": "assistant", "content": by_id[group[0]]}]
            for contest, groups in zip(held, grouped, strict=True)
            for group in groups
        ]
        rewards = iter(self._classifier.rewards(dialogues))
        for contest, groups in zip(held, grouped, strict=True):
            yield self._scores(contest, [(group, next(rewards)) for group in groups])

    def report(self) -> dict[str, Any]:
        """How many different responses were scored, and how many are too long."""
        return {"scored": self._scored, "too_long": self._too_long}

    def _text(self, response: Response) -> str:
        return sendable(response.text) if self._whole_text else response_text(response)

    def _scores(self, contest: Contest, rewards: Sequence[tuple[list[str], float | None]]) -> Scores:
        raw = {one: round(reward, DIGITS) for group, reward in rewards if reward is not None for one in group}
        self._scored += sum(reward is not None for _, reward in rewards)
        self._too_long += sum(reward is None for _, reward in rewards)
        values, undecided = with_margin(raw, self._margin)
        return Scores(contest.problem.id, values, undecided, {"rewards": raw})


class PairModel:
    """A local model that chooses between two answers, as a `Generator` for `Judge`.

    It classifies the judge's question; its labels are `A`, `B` and, if it has a third, `tie`.

    Args:
        model: its entry, or its folder or hub id.

    Raises:
        ConfigError: its labels are others.
        DataError, BackendError: as `align.models.reward.Classifier`.
    """

    keeps = False

    def __init__(self, model: Weights | str) -> None:
        self._classifier = _classifier(model)
        self._labels = [label.upper() for label in self._classifier.labels]
        if set(self._labels) not in ({"A", "B"}, {"A", "B", "TIE"}):
            raise ConfigError(
                f"{self._classifier.name}: a pair model's labels are A, B and, where it has one, tie; found "
                f"{', '.join(self._classifier.labels)}: name them in id2label of its config.json"
            )

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Batches:
        """All answers at once; a question that is too long has none."""
        waiting = [index for index in range(len(requests)) if index not in done]
        rows = self._classifier.logits([_messages(requests[index].prompt) for index in waiting])
        yield {index: self._reply(row) for index, row in zip(waiting, rows, strict=True)}

    def _reply(self, row: list[float] | None) -> Reply:
        if row is None:
            return Reply(text="", finish="error", error="longer than the model's positions")
        best = max(range(len(row)), key=lambda index: row[index])
        # two labels of one logit are no preference
        choice = "TIE" if row.count(row[best]) > 1 else self._labels[best]
        return Reply(text=CHOICES[choice])


def _classifier(model: Weights | str) -> Any:
    from ..models.reward import Classifier

    return Classifier(Weights(model_name_or_path=model) if isinstance(model, str) else model)


def _turns(problem: Problem) -> list[dict[str, str]]:
    return _messages(problem.prompt if isinstance(problem.prompt, list) else problem_text(problem))


def _messages(prompt: str | list[Message]) -> list[dict[str, str]]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": sendable(prompt)}]
    return [{"role": turn.role, "content": sendable(turn.content)} for turn in prompt]
