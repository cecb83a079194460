"""The `loss:` section of a recipe: one class a loss. Torch-free; `objective` holds what they compute.

Keys are trl's own where it has them.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..config import Section, bad_key
from ..errors import suggest

Reads = Literal["groups", "pairs", "unpaired"]
"""Ranked groups; preference pairs; single responses with a label."""


class LossSection(Section):
    """What every loss says of itself, beside what a recipe sets."""

    reads: ClassVar[Reads] = "groups"
    """The form of its rows."""
    referenced: ClassVar[bool] = False
    """Whether it is a loss over log-ratios to the starting weights."""
    name: str
    """Which loss this is."""

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with the log-probabilities of the starting weights."""
        return self.referenced

    @property
    def targets_teacher(self) -> bool:
        """Whether its likelihood term trains on the teacher's response, where rows name no target."""
        return False

    def options(self) -> dict[str, Any]:
        """Keywords of the loss's function in `align.loss`."""
        return self.model_dump(exclude={"name"})


class Rrtf(LossSection):
    """RRTF, PanGu-Coder2's ranking loss (arXiv 2307.14936)."""

    name: Literal["rrtf"]
    """This loss."""
    rank_weight: float = Field(default=1.0, ge=0)
    """Weight of the ranking term."""
    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the likelihood of the best response."""
    pair_loss: Literal["hinge", "logistic"] = "hinge"
    """What a pair costs: `hinge` nothing once it is in order by `margin`; `logistic` ever less."""
    margin: float = Field(default=0.0, ge=0)
    """How far apart the mean log-probabilities of a pair should be, in nats a token."""
    pairs: Literal["all", "teacher_student"] = "all"
    """Which responses are compared: all of different scores, or only a teacher above a student."""
    mode: Literal["ours", "paper"] = "ours"
    """`paper`: pairs of teacher and student, and the target's plain sum of log-probabilities instead of its mean."""

    @property
    def teacher_student(self) -> bool:
        """Whether only pairs of teacher and student count."""
        return self.mode == "paper" or self.pairs == "teacher_student"

    @property
    def targets_teacher(self) -> bool:
        """In the paper the target is always the teacher's response."""
        return self.mode == "paper"

    def options(self) -> dict[str, Any]:
        """Keywords of `rrtf_loss`; which pairs count is a tensor of the batch."""
        return self.model_dump(exclude={"name", "pairs", "mode"}) | {
            "sft_reduction": "groups" if self.mode == "paper" else "tokens"
        }


class Rrhf(LossSection):
    """RRHF: RRTF with every pair of weight 1 (arXiv 2304.05302)."""

    name: Literal["rrhf"]
    """This loss."""
    rank_weight: float = Field(default=1.0, ge=0)
    """Weight of the ranking term."""
    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the likelihood of the best response; without it the model degenerates into repetition."""


class ListMle(LossSection):
    """ListMLE: the Plackett–Luce likelihood of the order of a group (arXiv 2305.18290, appendix A.3)."""

    name: Literal["listmle"]
    """This loss."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the reference; with `reference_free`, scale of the mean log-probabilities, better near 2."""
    reference_free: bool = False
    """Order mean log-probabilities instead of log-ratios to the starting weights."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the likelihood of the best response."""

    @property
    def needs_reference(self) -> bool:
        """Unless it is `reference_free`."""
        return not self.reference_free

    def options(self) -> dict[str, Any]:
        """Keywords of `listmle_loss`; without a log-ratio it is free of a reference."""
        return self.model_dump(exclude={"name", "reference_free"})


class Lipo(LossSection):
    """LiPO-λ: DPO on every pair of a group, weighted by what it means for the ranking (arXiv 2402.01878)."""

    referenced: ClassVar[bool] = True
    name: Literal["lipo"]
    """This loss."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the reference."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the likelihood of the best response."""


class Dpo(LossSection):
    """DPO (arXiv 2305.18290) and its relatives on pairs."""

    reads: ClassVar[Reads] = "pairs"
    referenced: ClassVar[bool] = True
    name: Literal["dpo"]
    """This loss."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the reference."""
    loss_type: Literal[
        "sigmoid",
        "sigmoid_norm",
        "hinge",
        "ipo",
        "robust",
        "exo_pair",
        "nca_pair",
        "bco_pair",
        "sppo_hard",
        "apo_zero",
        "apo_down",
    ] = "sigmoid"
    """`sigmoid` is DPO; the others are trl's names of its relatives."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Probability that a pair is labelled the wrong way round: `sigmoid` (cDPO), `robust` and `exo_pair` only."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the likelihood of the chosen response."""

    @model_validator(mode="after")
    def _smoothing_has_a_meaning(self) -> "Dpo":
        if self.label_smoothing and self.loss_type not in ("sigmoid", "robust", "exo_pair"):
            raise bad_key("label_smoothing", f"has no meaning for loss_type {self.loss_type!r}: remove it")
        if not self.label_smoothing and self.loss_type == "exo_pair":
            raise bad_key("label_smoothing", "must be above 0 for loss_type 'exo_pair': its paper has 0.001")
        return self


class Simpo(LossSection):
    """SimPO: mean log-probabilities with a margin, no reference (arXiv 2405.14734)."""

    reads: ClassVar[Reads] = "pairs"
    name: Literal["simpo"]
    """This loss."""
    beta: float = Field(default=2.0, gt=0)
    """Scale of the mean log-probabilities; much larger than DPO's."""
    simpo_gamma: float = Field(default=1.0, ge=0)
    """Margin of the scaled means; its paper tunes `simpo_gamma`/`beta` between 0 and 1."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the likelihood of the chosen response."""


class Orpo(LossSection):
    """ORPO: likelihood of the chosen and an odds ratio, no reference (arXiv 2403.07691)."""

    reads: ClassVar[Reads] = "pairs"
    name: Literal["orpo"]
    """This loss."""
    beta: float = Field(default=0.1, gt=0)
    """Weight of the odds ratio: the paper's λ."""
    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the likelihood of the chosen response."""


class Kto(LossSection):
    """KTO: single responses with a label, against a reference (arXiv 2402.01306)."""

    reads: ClassVar[Reads] = "unpaired"
    referenced: ClassVar[bool] = True
    name: Literal["kto"]
    """This loss."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the reference."""
    desirable_weight: float = Field(default=1.0, ge=0)
    """Weight of the responses with label true; the paper wants weight × number within 1 to 4/3 of the others'."""
    undesirable_weight: float = Field(default=1.0, ge=0)
    """Weight of the responses with label false."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the likelihood of the desirable responses."""


Loss = Annotated[Rrtf | Rrhf | ListMle | Lipo | Dpo | Simpo | Orpo | Kto, Field(discriminator="name")]
LOSSES: dict[str, type[LossSection]] = {
    "rrtf": Rrtf,
    "rrhf": Rrhf,
    "listmle": ListMle,
    "lipo": Lipo,
    "dpo": Dpo,
    "simpo": Simpo,
    "orpo": Orpo,
    "kto": Kto,
}
"""Name → section. Supervised training is a stage kind of its own."""


_ORDER = ("logps/best", "logps/worst", "logps/margins", "length_correlation")
_SIDES = ("rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected")
_FIGURES: dict[Reads, tuple[str, ...]] = {
    "groups": ("loss/rank", "loss/sft", "rank/accuracies", "rank/kendall_tau", *_ORDER),
    "pairs": ("loss/preference", "loss/sft", *_SIDES, "rewards/accuracies", "rewards/margins", *_ORDER),
    "unpaired": ("loss/preference", "loss/sft", *_SIDES, "kl"),
}


def figure_names(loss: LossSection | None) -> tuple[str, ...]:
    """Names of what an objective measures, of which one may have no value at times; None is supervised training."""
    return ("loss", "eos", *(() if loss is None else _FIGURES[loss.reads]))


def check_name(section: Any) -> Any:
    """Refuse an unknown loss with a suggestion; for use as a `before` validator of a `loss:` field."""
    if isinstance(section, dict):
        name = section.get("name")
        if name is None:
            raise bad_key("name", f"missing: one of {', '.join(LOSSES)}")
        if not isinstance(name, str) or name not in LOSSES:
            raise bad_key("name", f"no loss {name!r}: {suggest(str(name), LOSSES)}")
    return section
