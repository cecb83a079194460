"""The records that stages exchange, one JSON object a line. Nothing else lives here.

Ids are content hashes, so the same problem has the same id in every run; a user's own ids ride along in
`meta`. Measured values (seconds, latency) are never part of a record: outputs are byte-identical between
runs.
"""

import hashlib
import json
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Role = Literal["student", "teacher", "reference"]
TestKind = Literal["asserts", "check", "calls", "io", "unittest"]
Finish = Literal["stop", "length", "error"]
Isolation = Literal["A", "B", "none"]
Outcome = Literal[
    "compile_error",
    "runtime_error",
    "timeout",
    "wrong_answer",
    "passed",
    "test_error",
    "unsupported",
    "infra_error",
]
NO_VERDICT: frozenset[str] = frozenset({"test_error", "unsupported", "infra_error"})
"""Outcomes that are never the program's fault and never become a score."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8 kept."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def content_id(value: Any) -> str:
    """16 hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


STRICT = ConfigDict(
    extra="forbid",
    strict=True,
    frozen=True,
    allow_inf_nan=False,
    protected_namespaces=(),
    use_attribute_docstrings=True,
)
"""Of records and of a recipe's sections: unknown keys, wrong types and numbers that are not finite are errors."""


class Record(BaseModel):
    """A strict, immutable record."""

    model_config = STRICT


class Message(Record):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    """Who says it."""
    content: str
    """What is said."""


Prompt = str | list[Message]


class Hashed(Record):
    """A record whose `id` is the hash of the fields named in `ID_FIELDS`.

    An `id` that does not fit the content is somebody's own: it moves to `meta["id"]`.
    """

    ID_FIELDS: ClassVar[tuple[str, ...]] = ()

    id: str = ""
    """16 hex digits of the sha256 of what identifies the record; computed, never chosen."""
    meta: dict[str, Any] = Field(default_factory=dict)
    """Anything of the user's own, such as `task_id`; stays with the record, never hashed."""

    @model_validator(mode="after")
    def _fill_id(self) -> "Hashed":
        computed = content_id(self.model_dump(include=set(self.ID_FIELDS), exclude_none=True))
        if self.id not in ("", computed):
            object.__setattr__(self, "meta", {"id": self.id, **self.meta})
        object.__setattr__(self, "id", computed)
        return self


class Limits(Record):
    """What one program of a problem may use."""

    cpu_seconds: float | None = Field(default=None, gt=0)
    """CPU seconds for the whole program."""
    memory_mb: int | None = Field(default=None, gt=0)
    """Address space in MiB."""


class Problem(Hashed):
    """A programming problem with its tests."""

    ID_FIELDS: ClassVar[tuple[str, ...]] = (
        "prompt",
        "entry_point",
        "signature",
        "tests",
        "test_kind",
        "test_imports",
        "test_setup",
        "atol",
        "language",
    )

    prompt: Prompt
    """What the model is asked: text, or a list of messages."""
    entry_point: str | None = None
    """The function the tests call."""
    signature: str | None = None
    """The `def` line the answer must have."""
    tests: list[str] = Field(default_factory=list)
    """Test source: assert statements (`asserts`), or one text that defines `check(candidate)` (`check`)."""
    test_kind: TestKind = "asserts"
    """How `tests` are run."""
    test_imports: list[str] = Field(default_factory=list)
    """Import lines that run before the program (MBPP)."""
    test_setup: str | None = None
    """Source that runs after the program and before the tests (MBPP)."""
    atol: float | None = None
    """Absolute tolerance for floats (EvalPlus)."""
    limits: Limits | None = None
    """Limits of the problem's own."""
    reference: str | None = None
    """A whole program that is known to pass."""
    language: str = "python"
    """Programming language of the answer."""
    parent: str | None = None
    """Id of the problem this one was evolved from."""
    operator: str | None = None
    """The evolution operator that made it."""
    round: int | None = None
    """The evolution round that made it; 0 for a seed."""
    source: str = ""
    """Where it comes from."""
    licence: str | None = None
    """Licence of its text."""


class Response(Hashed):
    """One model's answer to one problem."""

    ID_FIELDS: ClassVar[tuple[str, ...]] = ("problem_id", "model", "template", "sampling", "sample_index", "text")

    problem_id: str
    """Id of the problem answered (or a user's own id of it)."""
    sample_index: int = Field(default=0, ge=0)
    """0, 1, … among this model's samples for the problem."""
    model: str = ""
    """Name of the model in the recipe."""
    role: Role = "student"
    """Whose answer it is."""
    text: str
    """The raw answer."""
    code: str | None = None
    """The program cut out of it; None where there is none."""
    finish: Finish = "stop"
    """Why generation ended."""
    reasoning: str | None = None
    """Thinking text, kept apart from the answer."""
    template: str = ""
    """Name and hash of the prompt template."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters."""
    usage: dict[str, int] | None = None
    """Token counts; never hashed."""


class Verdict(Record):
    """What running one response on its problem's tests showed. Facts, never re-weighted."""

    response_id: str
    """Id of the response that ran."""
    problem_id: str
    """Id of its problem."""
    passed: bool
    """Whether every test held."""
    outcome: Outcome
    """How it ended."""
    reason: str | None = None
    """Exception type, signal, `memory`, `output_limit`, …"""
    tests_passed: int = Field(ge=0)
    """Assert statements that held in every execution."""
    tests_total: int = Field(ge=0)
    """Assert statements in the test source."""
    failed_tests: list[int] | None = None
    """Indices of the asserts that did not hold."""
    isolation: Isolation
    """Isolation level the program ran under."""
    stderr_tail: str | None = None
    """The end of the traceback or of stderr, addresses removed."""


class Ranking(Record):
    """An ordering of one problem's responses; equal tiers are explicit ties."""

    problem_id: str
    """Id of the problem."""
    tiers: list[list[str]]
    """Response ids, best tier first; responses in one tier are tied."""
    scores: dict[str, float]
    """Score of each ranked response id."""
    rankers: list[str]
    """Which rankers made it."""
    agreement: float | None = None
    """Share of response pairs on which the rankers agree; None with one ranker."""


class RankedGroup(Record):
    """An RRTF / RRHF training row: k responses to one prompt with scores. All text is final."""

    problem_id: str
    """Id of the problem."""
    prompt: str
    """Final text that the model continues."""
    responses: list[str]
    """Final texts, best first; the end-of-sequence token is the trainer's."""
    scores: list[float]
    """Score of each response."""
    roles: list[Role]
    """Whose each response is."""
    models: list[str]
    """Name of each response's model."""
    sft_targets: list[int] | None = None
    """Indices of the responses that the SFT term trains on, tied ones with equal weight; empty: none;
    None: unknown, the best-scored responses serve."""

    @model_validator(mode="after")
    def _same_length(self) -> "RankedGroup":
        k = len(self.responses)
        for name in ("scores", "roles", "models"):
            if len(getattr(self, name)) != k:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {k} responses")
        if k == 0:
            raise ValueError("a group needs at least one response")
        if any(not 0 <= index < k for index in self.sft_targets or ()):
            raise ValueError(f"sft_targets {self.sft_targets} outside of the {k} responses")
        return self


class PreferencePair(Record):
    """A DPO training row under trl's own column names. All text is final."""

    problem_id: str
    """Id of the problem."""
    prompt: str
    """Final text that the model continues."""
    chosen: str
    """The better response."""
    rejected: str
    """The worse response."""
    score_chosen: float | None = None
    """Score of the better one."""
    score_rejected: float | None = None
    """Score of the worse one."""


class SftRow(Record):
    """A supervised row under trl's own column names. All text is final."""

    prompt: str
    """What the model continues; no loss on it."""
    completion: str
    """What it learns to say; the end-of-sequence token is the trainer's."""


class Dialogue(Record):
    """A conversation; assistant turns are the targets."""

    messages: list[Message]


class UnpairedRow(Record):
    """A KTO row under trl's own column names."""

    prompt: str
    completion: str
    label: bool


class MultitaskRow(Record):
    """An xP3 row."""

    inputs: str
    """What the model continues; no loss on it."""
    targets: str
    """What it learns to say, after one space."""
    task: str = ""
    """Name of the data set and its subset."""
    language: str = ""
    """Code of the data's language."""
    template: str = ""
    """Name of the template that made it."""
    pack: int | None = None
    """Number of the packed row that holds it: rows of one number stand together, numbers go up from 0. None: it stands
    alone."""


class Rejected(Record):
    """A record that a stage dropped, with the reason; written to `rejected.jsonl`."""

    reason: str
    """One of the stage's own reasons; counts by reason are in `stage.json`."""
    detail: str | None = None
    """What triggered it."""
    record: dict[str, Any]
    """The dropped record."""
