"""Greedy answers of a model in the middle of its training, to a few held-out rows of each task, and their metrics.

`align.train` takes it as a `Measure`. Trains nothing; the metrics are `generation_metrics`'.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from ..generate.request import Request, Sampling
from ..schema import MultitaskRow
from .generation_metrics import Generation, Metric, generation_metrics
from .languages import language_code

if TYPE_CHECKING:
    from ..text.encode import Encoder

BATCH = 64
"""Sequences generated at once, beside the state of the optimizer."""
LANGUAGE = "en"
"""What a row without a language counts as."""


@dataclass
class GeneratedAnswers:
    """Figures of the answers to held-out rows: `<task>_<metric>`, and `<metric>`, in which every task weighs alike.

    A task's figure is the mean over its languages, each weighing by its rows. Percent; `length` in characters beside
    `length_ratio` to the right answers' mean; `wrong_script`: answers in another script than their language's.

    Args:
        rows: held-out rows; those that with an answer are too long for the model are never chosen.
        metrics: what is measured.
        rows_per_task: how many of each task's are answered; the same ones at every evaluation.
        sampling: greedy, with the lengths of an answer.
        seed: chooses the rows.
        name: what messages call the rows.
    """

    rows: Sequence[MultitaskRow]
    metrics: Sequence[Metric]
    rows_per_task: int
    sampling: Sampling
    seed: int
    name: str = "eval_data"
    chosen: list[MultitaskRow] = field(init=False, default_factory=list)

    def prepare(self, tokenizer: Any, positions: int | None) -> list[str]:
        """Choose the rows; names of the figures, of which one may have no value at times.

        Raises:
            ConfigError: an answer is longer than the model's positions, or a row's language has no known script.
            DataError: no row can be answered.
            BackendError: a library for a metric is missing.
        """
        from ..text.encode import Encoder

        most = self.sampling.max_new_tokens
        if positions is not None and most >= positions:
            raise ConfigError(
                f"eval_generate.max_new_tokens: {most} leaves no room for a prompt, of {positions} positions"
            )
        self.chosen = list(self._choose(Encoder(tokenizer), None if positions is None else positions - most))
        if not self.chosen:
            raise DataError(f"eval_generate: no row of {self.name} fits the model with an answer of {most} tokens")
        if "script" in self.metrics:
            self._check_languages()
        # the right answers as answers, one of each kind: every metric has what it needs, or says so now
        one_each = {(row.task, row.language): row for row in self.chosen}
        return list(self._figures([*one_each.values()], [row.targets for row in one_each.values()]))

    def __call__(self, model: Any, tokenizer: Any) -> dict[str, float]:
        """The figures of a model in eval mode."""
        from ..generate.hf import HfGenerator

        generator = HfGenerator(model, tokenizer, BATCH)
        requests = [Request(prompt=row.inputs, sampling=self.sampling) for row in self.chosen]
        replies = {place: reply for batch in generator.generate(requests) for place, reply in batch.items()}
        return self._figures(self.chosen, [replies[place].text for place in range(len(requests))])

    def _check_languages(self) -> None:
        for name in sorted({row.language for row in self.chosen} - {""}):
            try:
                language_code(name)
            except ConfigError as error:
                raise ConfigError(f"eval_generate: {self.name}: {error}: or leave script out of metrics") from None

    def _choose(self, encoder: "Encoder", room: int | None) -> Iterator[MultitaskRow]:
        by_task: dict[str, list[MultitaskRow]] = defaultdict(list)
        for row in self.rows:
            by_task[row.task].append(row)
        for task, rows in sorted(by_task.items()):
            left = self.rows_per_task
            for row in Random(f"{self.seed}/{task}").sample(rows, len(rows)):
                if left and row.targets.strip() and 0 < len(encoder.prompt(row.inputs)) <= (room or float("inf")):
                    left -= 1
                    yield row

    def _figures(self, rows: Sequence[MultitaskRow], answers: Sequence[str]) -> dict[str, float]:
        pairs = zip(rows, answers, strict=True)
        # a target stands after one space, which an answer begins with
        generations = [
            Generation(
                id="", task=row.task, language=row.language or LANGUAGE, output=text.strip(), references=[row.targets]
            )
            for row, text in pairs
        ]
        figures: dict[str, float] = {}
        by_name: dict[str, list[float]] = defaultdict(list)
        for task, languages in generation_metrics(generations, self.metrics).items():
            for name, value in _of_task([*languages.values()], self.metrics):
                by_name[name].append(value)
                if task:
                    figures[f"{task}_{name}"] = value
        return figures | {name: fmean(values) for name, values in by_name.items()}


def _of_task(languages: Sequence[dict[str, Any]], metrics: Sequence[Metric]) -> Iterator[tuple[str, float]]:
    """Name and value of each figure of a task, from its languages' tables."""
    rows = [table["rows"] for table in languages]
    for metric in metrics:
        tables = [table[metric] for table in languages]
        if metric == "length":
            mean, reference = (fmean([table[key] for table in tables], rows) for key in ("mean", "reference"))
            yield "length", mean
            yield "length_ratio", mean / max(reference, 1.0)
        elif metric == "script":
            judged = [table["judged"] for table in tables]
            if any(judged):
                yield "wrong_script", fmean([table["wrong"] or 0.0 for table in tables], judged)
        else:
            yield metric, fmean([table["value"] for table in tables], rows)
