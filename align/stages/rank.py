"""Judge responses by their problems' unit tests, and by further rankers within what these leave equal; write rows."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from ..config import bad_key
from ..errors import StageError
from ..execute import Execution
from ..io import Journal, read, write, write_json
from ..models.entry import Weights
from ..progress import progress
from ..rank import (
    Fused,
    Groups,
    Judge,
    Preference,
    Ranker,
    Static,
    UnitTests,
    choose_pairs,
    fuse,
    make_groups,
    make_sft_rows,
    on_policy,
)
from ..rank.exports import FILES, Export, export_rows
from ..rank.fuse import tiers
from ..rank.groups import BY_SCORE, UNVERIFIED, SftTarget, Unverified
from ..rank.judge import questions
from ..rank.judge_prompt import PURPOSES
from ..rank.pairs import MIN_PARTIAL_GAP, Chosen, Draw, Pairs
from ..rank.schedule import ROUND_ROBIN
from ..rank.unit_tests import PASSED, ScoreScale
from ..recipe import rankers as sections
from ..recipe.closing import describe
from ..recipe.rankers import JudgeKeys, LabelsKeys, PythonKeys, RankerName, RewardKeys, StaticKeys
from ..recipe.sections import Programs
from ..recipe.stage import Context, Counts, Demand, File, PromptFiles
from ..schema import NO_VERDICT, Problem, Ranking, Response, Role, Verdict
from ..text.template import TEMPLATES, TemplateName, completion_text, render, template

VERSION = 3
DATASET = True
OUTPUTS = (
    "verdicts.jsonl",
    "rankings.jsonl",
    "groups.jsonl",
    "pairs.jsonl",
    "sft.jsonl",
    "judge.json",
    *FILES.values(),
)
PROMPTS = PURPOSES
PAPER = {"score_scale": "paper", "teacher_tie_bonus": 0.5, "sft_target": "teacher", "pairs": "teacher_student"}
"""What `mode: paper` sets."""
NEEDED = ("judge", "labels", "reward", "python")
"""Rankers that are nothing without a section."""


class Config(Programs):
    """Rank responses; see `fuse`, `make_groups` and `choose_pairs` of `align.rank`."""

    problems: File
    """Problems with tests."""
    responses: File
    """Responses to rank."""
    verdicts: File | None = None
    """Verdicts of an earlier rank stage on the same problems: those responses are not run again."""
    by: list[RankerName] = Field(default=["unit_tests"], min_length=1)
    """The rankers. Unit tests make the levels; the others order within a level, or everything where there are none."""
    judge: JudgeKeys | None = None
    """The judge, where `by` names it."""
    static: StaticKeys | None = None
    """Other measures than `parses`, `lint`, `complexity`, `length`."""
    preference: StaticKeys | None = None
    """Other measures than `finished`, `quiet`, `length`, of responses that pass."""
    labels: LabelsKeys | None = None
    """People's labels, where `by` names them."""
    reward: RewardKeys | None = None
    """The reward model, where `by` names it."""
    python: PythonKeys | None = None
    """The function, where `by` names it."""
    weights: dict[RankerName, Annotated[float, Field(ge=0)]] = {}
    """Weights of the rankers within a level; 1 by default."""
    band: float = Field(default=0.25, gt=0, lt=0.5)
    """How far above its level's score the rankers may put a response, in levels."""
    prompts: PromptFiles = {}
    """Jinja templates of your own for `judge_<rubric>`."""
    roles: list[Role] | None = None
    """Rank only responses of these roles; all by default."""
    template: TemplateName | None = None
    """Template of the final prompt and completion text; by default what the students were asked by."""
    mode: Literal["ours", "paper"] = "ours"
    """`paper` sets PanGu-Coder2's variant: levels 0 to 3, the teacher's answer as target and above equal students."""
    score_scale: ScoreScale = "unit"
    """`unit`: graded, in [0, 1]; `paper`: the levels 0, 1, 2, 3."""
    teacher_tie_bonus: float = Field(default=0.0, ge=0)
    """Added to a teacher's score, at most half of the way to the next level; 0: ties carry no order."""
    sft_target: SftTarget = "best_passing"
    """What the SFT term trains on: the best passing responses, or the teacher's answer."""
    unverified: Unverified = "drop"
    """Problems whose tests no gate has verified (`meta.tests`): `drop` them, or `accept` the tests as they are."""
    drop_teacher_below: bool = True
    """Drop problems where the teacher stands below a student, by execution."""
    require_teacher_pass: bool = True
    """Drop problems where the teacher fails."""
    min_gap: float = Field(default=0.0, ge=0)
    """Drop problems whose best and worst response are less apart."""
    drop_all_equal: bool = False
    """Drop problems whose responses all pass alike; they serve the SFT term only."""
    pairs: Pairs = "all"
    """Which responses form pairs: all, a teacher above a student, the best and the worst, the best and a random one."""
    min_partial_gap: float = Field(default=MIN_PARTIAL_GAP, ge=0, le=1)
    """Least lead of a pair of which neither side passes, as a share of the asserts."""
    max_pairs: int | None = Field(default=None, gt=0)
    """Most pairs of a problem."""
    draw: Draw = "widest"
    """Which of more are kept: the widest gaps, or drawn in proportion to the gap."""
    exports: list[Export] = []
    """Further files: groups in RRHF's and UltraFeedback's forms, pairs in trl's conversational form."""

    @model_validator(mode="before")
    @classmethod
    def _paper(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("mode") == "paper":
            return {**PAPER, **data}
        return data

    @model_validator(mode="after")
    def _has_what_it_names(self, info: ValidationInfo) -> "Config":
        for name in ("judge", "static", "preference", "labels", "reward", "python"):
            if getattr(self, name) is not None and name not in self.by:
                raise bad_key(name, f"`by` does not name it: write `by: [{', '.join([*self.by, name])}]`")
            if name in NEEDED and name in self.by and getattr(self, name) is None:
                raise bad_key("by", f"{name} needs a section of its own: `{name}: {{…}}`")
        for name in self.weights:
            if name == "unit_tests" or name not in self.by:
                raise bad_key("weights", f"{name}: weights are of the rankers in `by` other than unit_tests")
        if "unit_tests" not in self.by and self.verdicts is not None:
            raise bad_key("verdicts", "they are of unit tests: add unit_tests to `by`")
        entries = getattr(info.context, "models", {})
        judge = self.judge if self.judge and self.judge.kind == "classifier" else None
        for name, keys in (("reward", self.reward), ("judge", judge)):
            if keys is not None and not isinstance(entries.get(keys.model), Weights | None):
                raise bad_key(f"{name}.model", f"{keys.model!r} has no weights here: give model_name_or_path")
        return self


def outputs(config: Config) -> tuple[str, ...]:
    """What this configuration leaves."""
    left_out = {"judge.json"} if config.judge is None else set()
    left_out |= set() if "unit_tests" in config.by else {"verdicts.jsonl"}
    left_out |= {file for name, file in FILES.items() if name not in config.exports}
    return tuple(name for name in OUTPUTS if name not in left_out)


def runs_programs(config: Config) -> bool:
    """Whether it runs programs: unit tests do."""
    return "unit_tests" in config.by


def demand(config: Config, rows: int) -> Demand:
    """What it asks of a judge, for 8 responses a problem that all stand equal."""
    asks: dict[str, tuple[int, int]] = {}
    if (judge := config.judge) is not None:
        count = rows * questions(ROUND_ROBIN, judge.mode, len(judge.rubrics)) + 2 * min(judge.audit, rows)
        asks[judge.model] = min(count, judge.max_requests or count), judge.max_new_tokens
    return Demand(asks, leaves=rows)


def run(config: Config, context: Context) -> Counts:
    """Read problems and responses; write verdicts, rankings, groups, pairs and SFT rows."""
    where = f"stages.{context.name}"
    problems = read(config.problems, Problem)
    if not problems:
        raise StageError(f"{where}: {config.problems} holds no problem")
    responses = [r for r in read(config.responses, Response) if config.roles is None or r.role in config.roles]
    if not responses:
        raise StageError(f"{where}: {config.responses} holds no response to rank")
    used = asked_by(config.template, responses, f"{where}.template")
    # before anything is run or paid for: labels of another set, a function that is not there
    rankers = made(config, context, problems, responses)
    verdicts = judge(config, context, problems, responses) if runs_programs(config) else None
    fused, groups = ranked(config, problems, responses, verdicts, rankers, used)
    told = told_of(config, context, problems, responses, rankers, fused)
    dropped = groups.dropped | not_judged(verdicts or [], fused.rankings, context.name)
    if not groups.rows:
        cure = ": `unverified: accept` takes the tests as they are" if UNVERIFIED in dropped else ""
        raise StageError(f"{where}: no group is left of {len(problems)} problems ({describe(dropped)}){cure}")
    pairs = paired(config, context, groups)
    rows, sft_rows = [pair.row() for pair in pairs], make_sft_rows(groups.rows)
    if verdicts is not None:
        write(context.out / "verdicts.jsonl", verdicts)
    write(context.out / "rankings.jsonl", fused.rankings)
    write(context.out / "groups.jsonl", groups.rows)
    write(context.out / "pairs.jsonl", rows)
    write(context.out / "sft.jsonl", sft_rows)
    for name in config.exports:
        write(context.out / FILES[name], export_rows(name, problems, groups.rows, rows))
    return {
        "responses": len(responses),
        "outcomes": dict(sorted(Counter(verdict.outcome for verdict in verdicts or ()).items())),
        "groups": len(groups.rows),
        "pairs": len(rows),
        "sft_rows": len(sft_rows),
        "dropped": dropped,
        **{f"student_{name}": share for name, share in on_policy(groups.rows, pairs).items() if share is not None},
        **told,
    }


def made(config: Config, context: Context, problems: Sequence[Problem], responses: Sequence[Response]) -> list[Ranker]:
    """The rankers that `by` names beside the unit tests, in order."""
    found: list[Ranker] = []
    for name in dict.fromkeys(config.by):
        if name == "judge" and config.judge:
            labels = sorted({response.model for response in responses})
            found.append(sections.made_judge(config.judge, context, config.prompts, labels))
        elif name == "labels" and config.labels:
            found.append(sections.made_labels(config.labels, problems, responses))
        elif name == "reward" and config.reward:
            found.append(sections.made_reward(config.reward, context))
        elif name == "python" and config.python:
            found.append(sections.made_custom(config.python))
        elif name == "static":
            found.append(sections.made_static(config.static, Static))
        elif name == "preference":
            found.append(sections.made_static(config.preference, Preference))
    return found


def ranked(
    config: Config,
    problems: Sequence[Problem],
    responses: Sequence[Response],
    verdicts: Sequence[Verdict] | None,
    rankers: Sequence[Ranker],
    used: str,
) -> tuple[Fused, Groups]:
    """Rankings and groups: by execution, and where there are further rankers, by these about the groups that are left.

    A judge costs money: it is not asked about problems that are dropped whatever it says.
    """

    def at_once(rankers: Sequence[Ranker], unasked: frozenset[str]) -> tuple[Fused, Groups]:
        fused = fuse(
            problems,
            responses,
            verdicts,
            rankers,
            weights={str(name): weight for name, weight in config.weights.items() if rankers},
            score_scale=config.score_scale,
            teacher_tie_bonus=config.teacher_tie_bonus,
            band=config.band,
            unasked=unasked,
        )
        return fused, make_groups(
            problems,
            responses,
            fused.rankings,
            verdicts,
            prompt_text=lambda problem: render(used, problem),
            completion_text=lambda code: completion_text(used, code),
            sft_target=config.sft_target,
            drop_teacher_below=config.drop_teacher_below,
            require_teacher_pass=config.require_teacher_pass,
            unverified=config.unverified,
            min_gap=config.min_gap,
            drop_all_equal=config.drop_all_equal,
            levels=fused.levels,
            undecided=fused.undecided,
        )

    if not rankers:
        return at_once((), frozenset())
    _, by_tests = at_once((), frozenset())
    settled = frozenset(one for one, reason in by_tests.left_out.items() if reason not in BY_SCORE)
    return at_once(rankers, settled)


def paired(config: Config, context: Context, groups: Groups) -> list[Chosen]:
    """The pairs of all groups."""
    full = 1.0 if config.score_scale == "unit" else PASSED
    return choose_pairs(
        groups,
        pairs=config.pairs,
        passing_score=full if runs_programs(config) else 0.0,
        min_partial_gap=config.min_partial_gap,
        max_pairs=config.max_pairs,
        draw=config.draw,
        seed=context.seed,
    )


def told_of(
    config: Config,
    context: Context,
    problems: Sequence[Problem],
    responses: Sequence[Response],
    rankers: Sequence[Ranker],
    fused: Fused,
) -> Counts:
    """What the rankers did, for the counts; a judge is audited first, and its figures are written to a file."""
    told: Counts = {}
    for ranker in rankers:
        if isinstance(ranker, Judge):
            if fused.levels and config.judge and config.judge.audit:
                ranker.audit(problems, responses, by_level(fused), config.judge.audit)
            told |= told_of_judge(ranker, context)
        else:
            figures = ranker.report()
            told |= {f"{ranker.name}_{name}": number for name, number in figures.items() if isinstance(number, int)}
    agreed = [one.agreement for one in fused.rankings if one.agreement is not None]
    return told | ({"agreement": round(sum(agreed) / len(agreed), 4)} if agreed else {})


def told_of_judge(judge: Judge, context: Context) -> Counts:
    """A judge's figures: all of them in `judge.json`, the main ones for the counts, and a line for what warns."""
    figures = judge.report()
    write_json(context.out / "judge.json", figures)
    for warning in figures["warnings"]:
        print(f"align: warning: {context.name}: judge: {warning}", file=sys.stderr)
    failures = figures["failures"]
    shares = {f"judge_{name}": figures[name]["share"] for name in ("flips", "first", "longer", "agreement")}
    return {
        "judge_replies": {"read": figures["questions"] - sum(failures.values()), **failures},
        "judge_comparisons": figures["comparisons"],
        **{name: share for name, share in shares.items() if share is not None},
    }


def by_level(fused: Fused) -> list[Ranking]:
    """The rankings by execution alone."""
    found = []
    for ranking in fused.rankings:
        levels = {one: fused.levels[one] for one in ranking.scores}
        found.append(ranking.model_copy(update={"tiers": tiers(levels), "scores": levels}))
    return found


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
    if known and len(unknown) == len(responses):
        raise StageError(
            f"stages.{context.name}.verdicts: none of the {len(known)} verdicts of {config.verdicts} is of one of the "
            f"{len(responses)} responses: it is of other responses: leave it out, or name the one of these"
        )
    cache, profile = context.out / ".executions.sqlite", config.profile.made() if config.profile else None
    tests = UnitTests(config.workers, config.isolation, config.timeout, cache, profile=profile)
    with progress(f"{context.name}: run tests", len(unknown)) as bar, Journal(context.out / "timings.jsonl") as timings:

        def measured(response: Response, ran: Execution) -> None:
            timings.append({"response_id": response.id, "cpu_seconds": round(ran.cpu_seconds, 6)})

        for response, found in zip(unknown, tests.judge(problems, unknown, measured), strict=True):
            known[response.id] = found
            bar.advance()
    return [known[response.id] for response in responses]
