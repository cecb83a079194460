"""The `loss:` section of a recipe: one class a loss. Torch-free; `objective` holds what they compute."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..config import Section, bad_key
from ..errors import suggest


class Rrtf(Section):
    """RRTF, PanGu-Coder2's ranking loss (arXiv 2307.14936)."""

    name: Literal["rrtf"]
    """This loss."""
    rank_weight: float = Field(default=1.0, ge=0)
    """Weight of the ranking term."""
    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the likelihood of the best response."""
    pairs: Literal["all", "teacher_student"] = "all"
    """Which responses are compared: all of different scores, or only a teacher above a student."""
    mode: Literal["ours", "paper"] = "ours"
    """`paper`: pairs of teacher and student, and the target's plain sum of log-probabilities instead of its mean."""

    @property
    def teacher_student(self) -> bool:
        """Whether only pairs of teacher and student count."""
        return self.mode == "paper" or self.pairs == "teacher_student"


class Rrhf(Section):
    """RRHF: RRTF with every pair of weight 1 (arXiv 2304.05302)."""

    name: Literal["rrhf"]
    """This loss."""
    rank_weight: float = Field(default=1.0, ge=0)
    """Weight of the ranking term."""
    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the likelihood of the best response; without it the model degenerates into repetition."""


class Dpo(Section):
    """DPO (arXiv 2305.18290) and its relatives on pairs. Keys are trl's own."""

    name: Literal["dpo"]
    """This loss."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the reference."""
    loss_type: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """`sigmoid` is DPO; the others keep their papers' names."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Probability that a pair is labelled the wrong way round (cDPO); `sigmoid` only."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the likelihood of the chosen response."""

    @model_validator(mode="after")
    def _smoothing_has_a_meaning(self) -> "Dpo":
        if self.label_smoothing and self.loss_type != "sigmoid":
            raise bad_key("label_smoothing", f"has no meaning for loss_type {self.loss_type!r}: remove it")
        return self


Loss = Annotated[Rrtf | Rrhf | Dpo, Field(discriminator="name")]
LOSSES: dict[str, type[Section]] = {"rrtf": Rrtf, "rrhf": Rrhf, "dpo": Dpo}
"""Name → section. Supervised training is a stage kind of its own."""


def check_name(section: Any) -> Any:
    """Refuse an unknown loss with a suggestion; for use as a `before` validator of a `loss:` field."""
    if isinstance(section, dict):
        name = section.get("name")
        if name is None:
            raise bad_key("name", f"missing: one of {', '.join(LOSSES)}")
        if not isinstance(name, str) or name not in LOSSES:
            raise bad_key("name", f"no loss {name!r}: {suggest(str(name), LOSSES)}")
    return section
