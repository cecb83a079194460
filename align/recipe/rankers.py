"""The sections of a recipe that describe rankers beside the unit tests, and the rankers that they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..config import Section, bad_key
from ..errors import suggest
from ..generate import Generator, Prompts, Sampling
from ..models.entry import Weights
from ..models.family import real_name
from ..rank import Custom, Judge, Labels, Ranker, Static
from ..rank.measures import MEASURES
from ..schema import Problem, Response
from .stage import UNKEYED, Context, File, Model

RankerName = Literal["unit_tests", "judge", "static", "preference", "labels", "reward", "python"]
Rubric = Literal["correctness", "instructions", "readability", "efficiency"]


class JudgeKeys(Section):
    """A model that orders the responses within one execution level; see `align.rank.Judge`."""

    model: Model
    """The judging model; its family should not be a candidate's."""
    kind: Literal["chat", "classifier"] = "chat"
    """`classifier`: weights with a sequence-classification head whose labels are A, B and perhaps tie."""
    mode: Literal["pairwise", "pointwise"] = "pairwise"
    """`pairwise`: every pair in both orders; `pointwise`: one question a response, cheaper and less reliable."""
    rubrics: list[Rubric] = Field(default=["correctness"], min_length=1)
    """What it judges by, each asked apart; their verdicts count alike."""
    margin: float = Field(default=1.0, ge=0)
    """Pointwise: least difference that is no tie, in points of 1 to 10."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    max_new_tokens: int = Field(default=1024, gt=0)
    """Longest reply, in tokens; a longer one is a failure."""
    audit: int = Field(default=100, ge=0)
    """Most pairs that tests have decided which are asked, too, to tell how often the judge agrees; 0: none."""
    max_requests: Annotated[int | None, UNKEYED] = Field(default=None, gt=0)
    """Most questions asked in one run; with more to ask the run stops, and keeps what it has."""


class StaticKeys(Section):
    """Order by what can be read off a program; see `align.rank.Static` and `align.rank.Preference`."""

    measures: list[str] = Field(min_length=1)
    """The measures, the weightiest first."""

    @model_validator(mode="after")
    def _are_measures(self) -> "StaticKeys":
        for measure in self.measures:
            if measure not in MEASURES:
                raise bad_key("measures", f"no measure {measure!r}: {suggest(measure, MEASURES)}")
        return self


class LabelsKeys(Section):
    """Order by people's labels; see `align.rank.Labels`."""

    path: File
    """`{problem_id, response_id, score | rank}` or `{problem_id, chosen, rejected}` a line."""


class RewardKeys(Section):
    """Order by a reward model, which has one label; see `align.rank.reward.Reward`."""

    model: Model
    """The weights, with a sequence-classification head."""
    margin: float = Field(default=0.0, ge=0)
    """Rewards that are less apart are a tie."""
    whole_text: bool = False
    """Score the whole answer, not the program cut out of it."""


class PythonKeys(Section):
    """Order by a function of your own, `function(problem, response) -> float | None`; see `align.rank.Custom`."""

    function: str
    """Its name in `file`, or `package.module:name`, whose source is not in the key."""
    file: File | None = None
    """The Python file that holds it."""


SECTIONS = ("judge", "labels", "reward", "python")
"""Rankers that need a section of their own."""


def made_judge(keys: JudgeKeys, context: Context, own: dict[str, str], labels: Sequence[str]) -> Judge:
    """The judge of a stage; what it answers is kept in the stage's folder, or where its endpoint keeps it.

    Args:
        keys: its section.
        context: the stage's.
        own: templates in the place of ours.
        labels: names of the models whose responses it judges.

    Raises:
        ConfigError, BackendError, DataError: as `Context.generator` and `align.rank.reward.PairModel`.
    """
    if keys.kind == "classifier":
        from ..rank.reward import PairModel

        generator: Generator = PairModel(context.weights(keys.model))
    else:
        generator = context.generator(keys.model)
    return Judge(
        generator,
        model=real_name(context.model(keys.model)),
        mode=keys.mode,
        rubrics=keys.rubrics,
        margin=keys.margin,
        prompts=Prompts(own),
        sampling=Sampling(temperature=keys.temperature, max_new_tokens=keys.max_new_tokens),
        seed=context.seed,
        cache=context.out / ".judge.jsonl",
        max_requests=keys.max_requests,
        candidates={label: _candidate(label, context) for label in labels},
    )


def made_labels(keys: LabelsKeys, problems: Sequence[Problem], responses: Sequence[Response]) -> Labels:
    """The ranker by labels; raises as `Labels`."""
    return Labels(keys.path, problems, responses)


def made_reward(keys: RewardKeys, context: Context) -> Ranker:
    """The ranker by a reward model, which is loaded; raises as `align.rank.reward.Reward`."""
    from ..rank.reward import Reward

    return Reward(context.weights(keys.model), margin=keys.margin, whole_text=keys.whole_text)


def made_static(keys: StaticKeys | None, kind: type[Static]) -> Static:
    """`Static` or `Preference`, by their own measures where there is no section."""
    return kind() if keys is None else kind(keys.measures)


def made_custom(keys: PythonKeys) -> Custom:
    """The ranker by a function; raises as `Custom`."""
    return Custom(keys.function if keys.file is None else f"{keys.file}:{keys.function}", name="python")


def _candidate(label: str, context: Context) -> str:
    """The real name of a model whose responses are judged, as far as the recipe tells it."""
    if label in context.models:
        return real_name(context.models[label])
    trained = getattr(context.trained_on.get(label), "model", None)
    if not isinstance(trained, str):
        return label
    if trained in context.models:
        return real_name(context.models[trained])
    return real_name(Weights(model_name_or_path=trained)) if Path(trained).is_dir() else label
