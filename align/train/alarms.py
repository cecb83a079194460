"""What a training's figures warn of, once a run each: a chosen response that collapses, an end that is forgotten.

Neither stops a run. Both are read off the logged means, so a run that was interrupted warns as an undisturbed one.
"""

from collections.abc import Callable, Mapping

CHOSEN, REJECTED, EOS = "logps/best", "logps/worst", "eos"
"""Figures: mean log-probability of a token of the better and of the worse responses; probability of the EOS."""
COLLAPSE = 0.5
"""Nats a token that the chosen responses may lose from the first logged mean while margins grow: at this point their
perplexity is 1.65 times what it was, and only their distance to worse ones is still being learned."""
FORGOTTEN = 0.1
"""Share of its highest logged mean that the probability of the EOS may fall to."""


class Alarms:
    """Watches the figures of a run, logged mean by logged mean."""

    def __init__(self) -> None:
        self.raised: dict[str, str] = {}
        """Name of each alarm that went off → its line."""
        self._first: dict[str, float] = {}
        self._highest_eos = 0.0

    def watch(self, figures: Mapping[str, float]) -> list[str]:
        """The lines of the alarms that go off now; figures that a loss does not have raise none."""
        for name, value in figures.items():
            self._first.setdefault(name, value)
        self._highest_eos = max(self._highest_eos, figures.get(EOS, 0.0))
        checks: dict[str, Callable[[Mapping[str, float]], str | None]] = {"collapse": self._collapse, "eos": self._eos}
        found = {name: line for name, check in checks.items() if name not in self.raised and (line := check(figures))}
        self.raised |= found
        return list(found.values())

    def _collapse(self, figures: Mapping[str, float]) -> str | None:
        if not {CHOSEN, REJECTED} <= figures.keys():
            return None
        now, before = figures[CHOSEN], self._first[CHOSEN]
        margin, first_margin = now - figures[REJECTED], before - self._first[REJECTED]
        if now >= before - COLLAPSE or margin <= first_margin:
            return None
        return (
            f"the chosen responses lose likelihood while margins grow: {now:.2f} nats a token, {before:.2f} at first: "
            "lower args.learning_rate, or raise loss.beta or loss.sft_weight"
        )

    def _eos(self, figures: Mapping[str, float]) -> str | None:
        now = figures.get(EOS)
        if now is None or now >= FORGOTTEN * self._highest_eos:
            return None
        return (
            f"the end of the responses is no longer predicted: the EOS has probability {now:.2g} at its place, "
            f"{self._highest_eos:.2g} at best: lower args.learning_rate, or raise loss.sft_weight"
        )
