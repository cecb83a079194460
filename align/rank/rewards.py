"""Unit tests as reward functions of other projects' trainers: trl's GRPO and RLOO, and verl.

A run without a verdict (a test that is broken, a library that is missing, a machine that fails) is no reward, never 0.
The workers that run the programs are kept from call to call. Where many processes of a node train, set
ALIGN_EXECUTE_SHARED=1: they share one set of workers. Loads no torch.

    from trl import GRPOTrainer
    from align.rank.rewards import UnitTestReward

    trainer = GRPOTrainer(model, reward_funcs=UnitTestReward(), train_dataset=rows_with_prompt_and_tests)
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ..errors import BackendError, ConfigError, DataError
from ..execute import Profile, extract_code
from ..execute.isolation import Requested
from ..forms import adapt
from ..generate.request import Reply
from ..generate.thinking import split_thinking
from ..io import explain
from ..schema import Problem, Response, Verdict
from .unit_tests import UnitTests, score

Scale = Literal["unit", "paper", "passed"]
OWN = ("entry_point", "signature", "tests", "test_kind", "test_imports", "test_setup", "atol", "limits", "language")
"""Columns of a problem's own form that say how a program is run."""
PASSED_ON = frozenset({"completion_ids", "trainer_state", "log_extra", "log_metric", "environments"})
"""What trl passes beside the columns of the data set."""
Turns = Sequence[Mapping[str, Any]]


class UnitTestReward:
    """trl's reward function: `(prompts, completions, **columns)` → a reward for each completion, or None.

    A row's columns are a problem in any form that `align` reads: `tests` (asserts) with `entry_point`, HumanEval's
    `test`, MBPP's `test_list`, APPS' `input_output`, … A completion may be text or messages; the program is cut out of
    it. One that holds no program gets what does not compile; a row without tests gets None.

    Args:
        scale: `unit`: graded, in [0, 1]; `paper`: the levels 0 to 3; `passed`: 1 or 0.
        columns: our field → the data set's column: `{tests: checks}`; `{prompt: question}` where the prompt that the
            model gets is not the problem's.
        workers, isolation, timeout, cache, profile, shared: as in `UnitTests`.
    """

    def __init__(
        self,
        scale: Scale = "unit",
        *,
        columns: Mapping[str, str] | None = None,
        workers: int | None = None,
        isolation: Requested = "auto",
        timeout: float | None = None,
        cache: Path | None = None,
        profile: Profile | None = None,
        shared: bool | None = None,
    ) -> None:
        # trl logs the reward under this name
        self.__name__ = "unit_tests"
        self._scale, self._columns = scale, dict(columns or {})
        self._tests = UnitTests(workers, isolation, timeout, cache, profile=profile, shared=shared)

    def __call__(
        self, prompts: Sequence[str | Turns], completions: Sequence[str | Turns], **columns: Any
    ) -> list[float | None]:
        """A reward for each completion.

        Raises:
            ConfigError: the data set has no column of tests.
            DataError: a row's columns are no problem.
            BackendError: programs cannot be run on this machine.
        """
        rows = self._rows(prompts, columns)
        problems = [_problem(row, f"row {number} of the batch") for number, row in enumerate(rows)]
        return self.rewards(problems, [_text(completion) for completion in completions])

    def rewards(self, problems: Sequence[Problem | None], texts: Sequence[str]) -> list[float | None]:
        """A reward for each text; None where there is no problem, no tests or no verdict."""
        asked = [
            (place, problem, _response(problem, text))
            for place, (problem, text) in enumerate(zip(problems, texts, strict=True))
            if problem is not None and problem.tests
        ]
        found: list[float | None] = [None] * len(texts)
        with_tests = [problem for _, problem, _ in asked]
        self._tests.__enter__()
        verdicts = self._tests.judge(with_tests, [response for _, _, response in asked])
        for (place, _, _), verdict in zip(asked, verdicts, strict=True):
            found[place] = self._reward(verdict)
        return found

    def close(self) -> None:
        """End the workers; a further call starts new ones."""
        self._tests.close()

    def _reward(self, verdict: Verdict) -> float | None:
        if self._scale == "passed":
            return None if score(verdict) is None else float(verdict.passed)
        return score(verdict, self._scale)

    def _rows(self, prompts: Sequence[str | Turns], columns: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The columns as rows, under our names."""
        lists = {name: held for name, held in columns.items() if name not in PASSED_ON and isinstance(held, list)}
        for ours, theirs in self._columns.items():
            if theirs not in lists:
                raise ConfigError(
                    f"columns: the data set has no column {theirs!r} (columns: {', '.join(sorted(lists))})"
                )
            lists[ours] = lists.pop(theirs)
        lists.setdefault("prompt", list(map(_prompt, prompts)))
        return [{name: held[number] for name, held in lists.items()} for number in range(len(prompts))]


class AsyncUnitTestReward(UnitTestReward):
    """`UnitTestReward` for trainers that await their reward functions, such as trl's: several run at once."""

    async def __call__(  # type: ignore[override]
        self, prompts: Sequence[str | Turns], completions: Sequence[str | Turns], **columns: Any
    ) -> list[float | None]:
        """A reward for each completion, while the event loop is free."""
        return await asyncio.to_thread(super().__call__, prompts, completions, **columns)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    missing: float | None = None,
    **_: object,
) -> float:
    """verl's `custom_reward_function`: the graded reward of one answer, in [0, 1].

    Args:
        data_source: not used.
        solution_str: the answer.
        ground_truth: the tests: asserts, a problem in any form that `align` reads, or either as JSON text.
        extra_info: further fields of the problem, such as `entry_point`, and its `prompt` (or `question`).
        missing: the reward where there is no verdict, for which verl has no value.

    Raises:
        BackendError: there is no verdict, and `missing` is not given.
        DataError: ground_truth is no problem.
    """
    problem = _ground_truth(ground_truth, extra_info or {})
    (found,) = _default().rewards([problem], [solution_str])
    if found is None and missing is None:
        raise BackendError(
            f"problem {problem.id}: no verdict: its tests are broken or cannot be run here: leave it out, or set "
            "custom_reward_function.reward_kwargs.missing to a reward"
        )
    return float(missing or 0.0) if found is None else found


async def acompute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    missing: float | None = None,
    **_: object,
) -> float:
    """`compute_score` for verl's asynchronous reward loop."""
    return await asyncio.to_thread(compute_score, data_source, solution_str, ground_truth, extra_info, missing=missing)


@lru_cache(maxsize=1)
def _default() -> UnitTestReward:
    return UnitTestReward()


def _problem(row: Mapping[str, Any], where: str) -> Problem | None:
    """The problem of a row; None where the row has a place for tests, but none in it."""
    # the columns of a data set are those of all its rows: what a row lacks is null
    held = {name: value for name, value in row.items() if value is not None}
    if "tests" in row:
        if not (tests := held.get("tests")):
            return None
        held = {name: held[name] for name in (*OWN, "prompt") if name in held}
        held["tests"] = [tests] if isinstance(tests, str) else tests
    try:
        problem = Problem.model_validate(adapt(Problem, {**held}))
    except ValidationError as error:
        raise DataError(f"{where}: {explain(error)}") from None
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    if not problem.tests:
        raise ConfigError(
            f"{where}: no column holds tests (columns: {', '.join(sorted(row))}): add `tests`, or name its column: "
            "UnitTestReward(columns={'tests': …})"
        )
    return problem


def _ground_truth(given: Any, extra: Mapping[str, Any]) -> Problem:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = [given]
    row = dict(given) if isinstance(given, Mapping) else {"tests": given}
    if "tests" in row and not isinstance(row["tests"], str):
        try:
            # a column of parquet comes as an array
            row["tests"] = [str(test) for test in row["tests"]]
        except TypeError:
            raise DataError(f"ground_truth: expected tests, found {str(given)[:60]!r}") from None
    row = {name: extra[name] for name in OWN if name in extra} | row
    row.setdefault("prompt", _prompt(extra.get("prompt") or extra.get("question") or ""))
    problem = _problem(row, "ground_truth")
    if problem is None:
        raise DataError("ground_truth: holds no test: give the asserts, or a problem")
    return problem


def _response(problem: Problem, text: str) -> Response:
    prompt = problem.prompt if isinstance(problem.prompt, str) else None
    code = extract_code(text, prompt=prompt, entry_point=problem.entry_point)
    return Response(problem_id=problem.id, text=text, code=code)


def _prompt(prompt: str | Turns) -> str:
    """A prompt as text: of messages, the last that a user says."""
    if isinstance(prompt, str):
        return prompt
    said = [turn for turn in prompt if turn.get("role") == "user"]
    return _content(said[-1]) if said else ""


def _text(completion: str | Turns) -> str:
    """What a completion says, without its thinking: of messages, the last of the assistant."""
    if not isinstance(completion, str):
        said = [turn for turn in completion if turn.get("role", "assistant") == "assistant"]
        completion = _content(said[-1]) if said else ""
    return split_thinking(Reply(text=completion)).text


def _content(turn: Mapping[str, Any]) -> str:
    content = turn.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
