"""The tasks of data/multitask: rows of each, drawn from the small world. Writes no files.

A task makes `count` rows in all languages at once. What has two options says them as `option1`, `option2` and the
`label` of the right one.
"""

from collections.abc import Callable
from typing import Any

from multitask_world import (
    LANGUAGES,
    SPACE,
    Person,
    World,
    a,
    event,
    has,
    is_at,
    is_so,
    statement,
    the,
)

Row = dict[str, Any]
Rows = list[tuple[Row, ...]]
HELD_OUT_EVENTS, HELD_OUT_OPPOSITES = 3, 2
"""Every third event, the last two pairs of adjectives."""
INTO = ("English", "Spanish", "Chinese")


def parallel(world: World, count: int, make: Callable[[], list[Row]]) -> Rows:
    """Different rows, numbered: row n is row n in every language."""
    found: dict[str, list[Row]] = {}
    while len(found) < count:
        rows = make()
        found.setdefault(str(rows[0]), rows)
    return [tuple({"id": number} | row for row in rows) for number, rows in enumerate(found.values())]


def options(right: str, wrong: str, label: int) -> Row:
    """Two options, the right one where the label says."""
    first, second = (wrong, right) if label else (right, wrong)
    return {"option1": first, "option2": second, "label": label}


def in_all(make: Callable[[int], Row]) -> list[Row]:
    """A row of each language."""
    return [make(tongue) for tongue in range(len(LANGUAGES))]


def some_event(world: World, but: int | None = None) -> int:
    """An event of this split."""
    numbers = [n for n in range(len(world.events)) if (n % HELD_OUT_EVENTS == 0) == world.test and n != but]
    return world.random.choice(numbers)


def opposites(world: World) -> list[Any]:
    """The pairs of this split."""
    return world.opposites[-HELD_OUT_OPPOSITES:] if world.test else world.opposites[:-HELD_OUT_OPPOSITES]


def copa(world: World, count: int) -> Rows:
    """Which of two is the cause, or the effect."""

    def make() -> list[Row]:
        person, side, label = world.random.choice(world.people), world.random.randrange(2), world.random.randrange(2)
        number = some_event(world)
        other = some_event(world, but=number)

        def row(tongue: int) -> Row:
            said = [event(world, which, side, person, tongue) for which in (number, other)]
            premise = event(world, number, 1 - side, person, tongue)
            return {"premise": premise, "question": ("cause", "effect")[side], **options(said[0], said[1], label)}

        return in_all(row)

    return parallel(world, count, make)


def about(world: World, count: int, relation: str, people: list[Person]) -> Rows:
    """What somebody's job, pet or the like is: texts say it, the prompt does not."""
    told = world.about[relation]

    def make() -> list[Row]:
        person, label = world.random.choice(people), world.random.randrange(2)
        right = world.value(person, relation)
        wrong = world.random.choice([n for n in range(len(told["values"])) if n != right])
        place = world.random.choice(world.places)

        def row(tongue: int) -> Row:
            said = {"context": is_at(world, person, place, tongue), "person": person.names[tongue]}
            return said | options(told["values"][right][tongue], told["values"][wrong][tongue], label)

        return in_all(row)

    return parallel(world, count, make)


def of_some(relation: str) -> Callable[[World, int], Rows]:
    """Asked about some people in training, about the others in tests."""
    return lambda world, count: about(world, count, relation, world.asked_about(relation))


def of_all(relation: str) -> Callable[[World, int], Rows]:
    """Asked about everybody."""
    return lambda world, count: about(world, count, relation, world.people)


def opposite(world: World, count: int) -> Rows:
    """The opposite of a word in a sentence."""

    def make() -> list[Row]:
        person, noun = world.pair("has", world.people, world.nouns)
        label, side = world.random.randrange(2), world.random.randrange(2)
        pair = world.random.choice(opposites(world))
        wrong = world.random.choice([one for one in opposites(world) if one != pair])[side]

        def row(tongue: int) -> Row:
            said = {"sentence": is_so(world, person, noun, pair[side], tongue), "word": pair[side].of(noun, tongue)}
            return said | options(pair[1 - side].of(noun, tongue), wrong.of(noun, tongue), label)

        return in_all(row)

    return parallel(world, count, make)


def kind(world: World, count: int) -> Rows:
    """What kind of thing something is."""
    last = {noun.kind: noun for noun in world.nouns}

    def make() -> list[Row]:
        noun = world.random.choice(world.nouns)
        if (last[noun.kind] == noun) != world.test:
            return make()
        wrong = world.random.choice([one for one in world.kinds if one != noun.kind])
        label = world.random.randrange(2)
        owner = world.owners(1)[0]
        return in_all(
            lambda tongue: (
                {"context": has(world, owner, tongue), "a": a(noun, tongue), "the": the(noun, tongue)}
                | options(world.kinds[noun.kind][tongue], world.kinds[wrong][tongue], label)
            )
        )

    return parallel(world, count, make)


def translate(world: World, count: int) -> Rows:
    """A short sentence in another language: into English from the two others by turns, into these from English."""
    turn = 0

    def make() -> list[Row]:
        nonlocal turn
        turn += 1
        say = statement(world)
        return in_all(
            lambda tongue: {"source": say(0 if tongue else 1 + turn % 2), "target": say(tongue), "into": INTO[tongue]}
        )

    return parallel(world, count, make)


def cloze(world: World, count: int) -> Rows:
    """Which of two sentences ends a story."""

    def make() -> list[Row]:
        (person, place) = world.located(1)[0]
        label, number = world.random.randrange(2), world.random.randrange(len(world.events))
        wrong = world.random.choice([n for n in range(len(world.events)) if n != number])

        def row(tongue: int) -> Row:
            context = [is_at(world, person, place, tongue), event(world, number, 0, person, tongue)]
            said = [event(world, which, 1, person, tongue) for which in (number, wrong)]
            return {"context": SPACE[tongue].join(context), **options(said[0], said[1], label)}

        return in_all(row)

    return parallel(world, count, make)


TASKS: dict[str, Callable[[World, int], Rows]] = {
    "copa": copa,
    "job": of_some("job"),
    "favourite": of_some("favourite"),
    "fruit": of_some("fruit"),
    "opposite": opposite,
    "kind": kind,
    "translate": translate,
}
"""What mixtures train on."""
HELD_OUT: dict[str, Callable[[World, int], Rows]] = {"city": of_all("city"), "pet": of_all("pet"), "cloze": cloze}
"""What no mixture trains on: only test rows."""
