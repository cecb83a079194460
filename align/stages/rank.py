"""Judge responses by their problems' unit tests and write verdicts, rankings and training rows."""

import sys
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..config import Section
from ..errors import BackendError, StageError
from ..execute import Execution
from ..io import Journal, read, write
from ..progress import progress
from ..rank import UnitTests, make_groups, make_pairs, make_sft_rows, rank_responses
from ..rank.groups import Pairs, SftTarget
from ..rank.unit_tests import ScoreScale
from ..recipe.profile import Profile
from ..recipe.stage import UNKEYED, Context, Counts, File, Model
from ..schema import NO_VERDICT, Problem, Ranking, Response, Role, Verdict
from ..text.template import TEMPLATES, TemplateName, completion_text, render, template

VERSION = 2
RUNS_PROGRAMS = True
OUTPUTS = ("verdicts.jsonl", "rankings.jsonl", "groups.jsonl", "pairs.jsonl", "sft.jsonl")
PAPER = {"score_scale": "paper", "teacher_tie_bonus": 0.5, "sft_target": "teacher", "pairs": "teacher_student"}
"""What `mode: paper` sets."""


class Judge(Section):
    """A model that orders the responses within one execution level."""

    model: Model
    """The judging model; its family must not be a candidate's."""


class Config(Section):
    """Rank responses; see `rank_responses`, `make_groups` and `make_pairs`."""

    problems: File
    """Problems with tests."""
    responses: File
    """Responses to rank."""
    verdicts: File | None = None
    """Verdicts of an earlier rank stage on the same problems: those responses are not run again."""
    by: list[Literal["unit_tests", "judge"]] = Field(default=["unit_tests"], min_length=1)
    """The rankers; unit tests come first."""
    judge: Judge | None = None
    """The judge, where `by` names it."""
    roles: list[Role] | None = None
    """Rank only responses of these roles; all by default."""
    template: TemplateName | None = None
    """Template of the final prompt and completion text; by default what the students were asked by."""
    mode: Literal["ours", "paper"] = "ours"
    """`paper` sets PanGu-Coder2's variant: levels 0 to 3, the teacher's answer as target and above equal students."""
    score_scale: ScoreScale = "unit"
    """`unit`: graded, in [0, 1]; `paper`: the levels 0, 1, 2, 3."""
    teacher_tie_bonus: float = Field(default=0.0, ge=0)
    """Added to a teacher's score; 0: ties carry no order."""
    sft_target: SftTarget = "best_passing"
    """What the SFT term trains on: the best passing responses, or the teacher's answer."""
    drop_teacher_below: bool = True
    """Drop problems where the teacher stands below a student."""
    require_teacher_pass: bool = True
    """Drop problems where the teacher fails."""
    pairs: Pairs = "all"
    """Which responses form pairs: all, or a teacher above a student."""
    workers: Annotated[int | None, UNKEYED] = Field(default=None, gt=0)
    """Programs run at once."""
    timeout: float | None = Field(default=None, gt=0)
    """CPU seconds a program, where its problem has no limit."""
    isolation: Literal["auto", "A", "B", "none"] = "auto"
    """Isolation of the programs; `auto` is level A, or a refusal."""
    profile: Profile | None = None
    """The interpreter of the programs, and what it has imported before they start."""

    @model_validator(mode="before")
    @classmethod
    def _paper(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("mode") == "paper":
            return {**PAPER, **data}
        return data

    @model_validator(mode="after")
    def _has_judge(self) -> "Config":
        if ("judge" in self.by) != (self.judge is not None):
            raise ValueError("`by: [..., judge]` and `judge: {model: ...}` belong together")
        return self


def run(config: Config, context: Context) -> Counts:
    """Read problems and responses; write verdicts, rankings, groups, pairs and SFT rows."""
    if "judge" in config.by:
        raise BackendError(f"stages.{context.name}.by: ranking by a judge is not built yet: write `by: [unit_tests]`")
    problems = read(config.problems, Problem)
    if not problems:
        raise StageError(f"stages.{context.name}: {config.problems} holds no problem")
    responses = [r for r in read(config.responses, Response) if config.roles is None or r.role in config.roles]
    if not responses:
        raise StageError(f"stages.{context.name}: {config.responses} holds no response to rank")
    used = asked_by(config.template, responses, f"stages.{context.name}.template")
    verdicts = judge(config, context, problems, responses)
    rankings = rank_responses(
        problems,
        responses,
        verdicts,
        score_scale=config.score_scale,
        teacher_tie_bonus=config.teacher_tie_bonus,
    )
    groups = make_groups(
        problems,
        responses,
        rankings,
        verdicts,
        prompt_text=lambda problem: render(used, problem),
        completion_text=lambda code: completion_text(used, code),
        sft_target=config.sft_target,
        drop_teacher_below=config.drop_teacher_below,
        require_teacher_pass=config.require_teacher_pass,
    )
    dropped = groups.dropped | not_judged(verdicts, rankings, context.name)
    if not groups.rows:
        raise StageError(f"stages.{context.name}: no group is left of {len(problems)} problems: {dropped}")
    pairs = make_pairs(groups.rows, pairs=config.pairs, passing_score=1.0 if config.score_scale == "unit" else 3.0)
    sft_rows = make_sft_rows(groups.rows)
    write(context.out / "verdicts.jsonl", verdicts)
    write(context.out / "rankings.jsonl", rankings)
    write(context.out / "groups.jsonl", groups.rows)
    write(context.out / "pairs.jsonl", pairs)
    write(context.out / "sft.jsonl", sft_rows)
    return {
        "responses": len(responses),
        "outcomes": outcomes(verdicts),
        "groups": len(groups.rows),
        "pairs": len(pairs),
        "sft_rows": len(sft_rows),
        "dropped": dropped,
    }


def asked_by(given: str | None, responses: list[Response], where: str) -> str:
    """The template of the text that is trained on: the students', so that they are trained on what they are asked.

    Raises:
        StageError: they were asked by another one than is given, or by several.
    """
    asked = sorted({r.template for r in responses if r.role == "student" and r.template.partition("@")[0] in TEMPLATES})
    name = given or (asked[0].partition("@")[0] if asked else "plain")
    if asked and asked != [template(name).id]:
        raise StageError(f"{where}: the students were asked by {', '.join(asked)}, not by {template(name).id}")
    return name


def not_judged(verdicts: list[Verdict], rankings: list[Ranking], name: str) -> dict[str, int]:
    """How many problems have no response with a verdict, through no fault of theirs; the first one is told."""
    ranked = {ranking.problem_id for ranking in rankings}
    lost = {one.problem_id: one for one in verdicts if one.outcome in NO_VERDICT and one.problem_id not in ranked}
    if not lost:
        return {}
    first = next(iter(lost.values()))
    print(
        f"align: warning: {name}: {len(lost)} problems could not be judged, such as {first.problem_id}: {first.outcome}"
        + (f", {first.reason}" if first.reason else ""),
        file=sys.stderr,
    )
    return {"not_judged": len(lost)}


def judge(config: Config, context: Context, problems: list[Problem], responses: list[Response]) -> list[Verdict]:
    """Verdicts of all responses, in order; executions done before an interruption are not repeated."""
    known = {} if config.verdicts is None else {v.response_id: v for v in read(config.verdicts, Verdict)}
    unknown = [response for response in responses if response.id not in known]
    cache, profile = context.out / ".executions.sqlite", config.profile.made() if config.profile else None
    tests = UnitTests(config.workers, config.isolation, config.timeout, cache, profile=profile)
    with progress(f"{context.name}: run tests", len(unknown)) as bar, Journal(context.out / "timings.jsonl") as timings:

        def measured(response: Response, ran: Execution) -> None:
            timings.append({"response_id": response.id, "cpu_seconds": round(ran.cpu_seconds, 6)})

        for response, found in zip(unknown, tests.judge(problems, unknown, measured), strict=True):
            known[response.id] = found
            bar.advance()
    return [known[response.id] for response in responses]


def outcomes(verdicts: list[Verdict]) -> dict[str, int]:
    """How often each outcome came up."""
    names = [verdict.outcome for verdict in verdicts]
    return {name: names.count(name) for name in sorted(set(names))}
