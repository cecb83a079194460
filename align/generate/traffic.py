"""How many requests go to which address: one window an address, that follows what the server bears.

A window starts at the most that is allowed, halves when the server says that it is too much, is cut when answers take
longer and come no faster, and grows back step by step. An address that cannot be reached rests. Keeps no requests,
and takes its times from who calls.
"""

from dataclasses import dataclass, field

GROWTH = 1 / 16
"""Share of the whole window by which it grows in a round trip."""
SLOWER, FASTER, CUT = 2.0, 1.1, 0.75
"""Answers that take so many times the least, at a rate not so much above the one then, mean a queue at the server."""
FORGET = 1.01
"""How fast the least latency and the greatest rate are forgotten, a round trip: loads change."""
REST_LEAST, REST_MOST = 1.0, 60.0
"""Seconds that an address which cannot be reached is left alone, doubled each time."""


@dataclass
class Address:
    """One replica.

    Args:
        url: as messages show it.
        most: greatest window.
    """

    url: str
    most: int
    proven: bool = True
    """Whether it is known to answer; until then one request at a time finds out."""
    in_flight: int = 0
    window: float = 0.0
    rests_until: float = 0.0
    """Nothing is sent before."""
    down_since: float | None = None
    """When it was last reached, where it no longer is."""
    _cut: float = float("-inf")
    _answered: float = float("-inf")
    """When it last answered."""
    _rest: float = REST_LEAST
    _round: "_Round" = field(default_factory=lambda: _Round())
    _best: tuple[float, float] | None = None
    """The least latency and the greatest rate of a round trip."""

    def __post_init__(self) -> None:
        self.window = self.window or float(self.most)

    def room(self, now: float) -> float:
        """How many more may be sent now."""
        if now < self.rests_until:
            return 0.0
        return (int(self.window) if self.proven else 1) - self.in_flight

    def sent(self) -> None:
        """A request went out."""
        self.in_flight += 1

    def done(self) -> None:
        """It is over, in whatever way."""
        self.in_flight -= 1

    def answered(self, started: float, now: float) -> None:
        """It was answered: the window grows, unless answers only wait longer."""
        self._reached()
        self.proven = True
        self._answered = now
        self.window = min(self.most, self.window + GROWTH * self.most / max(self.window, 1.0))
        self._round.count += 1
        self._round.seconds += now - started
        if self._round.count >= max(8, self.window):
            self._judge()

    def refused(self, started: float, now: float, rest: float | None = None) -> None:
        """It was too much: halve, once for all that were out together.

        Args:
            started: when the request was sent.
            now: the time.
            rest: seconds that the server wants to be left alone.
        """
        self._reached()
        if started > self._cut:
            self.window = max(1.0, self.window / 2)
            self._cut = now
        if rest is not None:
            self.rests_until = max(self.rests_until, now + rest)

    def timed_out(self, started: float, now: float) -> None:
        """No answer came in time: too much, unless others are answered meanwhile."""
        if self._answered < (started + now) / 2:
            self.refused(started, now)

    def unreached(self, now: float) -> None:
        """Nobody answers there: rest, and then go on with one request."""
        if now < self.rests_until:
            return  # one of many that were sent before it was known
        self.down_since = now if self.down_since is None else self.down_since
        self.rests_until = now + self._rest
        self._rest = min(REST_MOST, 2 * self._rest)
        self.window = 1.0

    def _reached(self) -> None:
        if self.down_since is not None:
            # a replica that comes back grows from half of its window
            self.window = max(self.window, self.most / 2)
        self.down_since, self._rest = None, REST_LEAST

    def _judge(self) -> None:
        """At the end of a round trip: cut where latency has grown and the rate has not."""
        latency = self._round.seconds / self._round.count
        # Little's law: over a round trip that is a burst, answers a second would say nothing
        rate = self.window / max(latency, 1e-9)
        self._round = _Round()
        if self._best is None or latency <= self._best[0]:
            self._best = (latency, max(rate, self._best[1] if self._best else 0.0))
            return
        least, then = self._best
        if latency > SLOWER * least and rate < FASTER * then:
            self.window = max(1.0, self.most / 4, CUT * self.window)
        self._best = (least * FORGET, max(rate, then / FORGET))


@dataclass
class _Round:
    """The answers of about one round trip."""

    count: int = 0
    seconds: float = 0.0


def pick(addresses: list[Address], now: float) -> Address | None:
    """The address with the most room; None where none has any."""
    found = max(addresses, key=lambda address: address.room(now))
    return found if found.room(now) >= 1 else None


def next_rest(addresses: list[Address], now: float) -> float | None:
    """When the first of the resting addresses may be asked again."""
    return min((address.rests_until for address in addresses if address.rests_until > now), default=None)


def all_down_since(addresses: list[Address]) -> float | None:
    """Since when no address can be reached; None while one can."""
    times = [address.down_since for address in addresses]
    return None if None in times else max(time for time in times if time is not None)
