"""The small world of data/multitask/world.yaml, and sentences about it in every language. Writes no files.

`tongue` is a language's place in `LANGUAGES`.
"""

import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ruamel.yaml import YAML

LANGUAGES = ("en", "es", "zh")
SPACE = (" ", " ", "")
HELD_OUT_SHARE = 5
"""One combination in this many is for tests."""


class Person(NamedTuple):
    """Somebody, with the name in each language."""

    names: tuple[str, str, str]
    female: bool


class Noun(NamedTuple):
    """A thing or an animal: its word in each language, its gender in Spanish, its measure word in Chinese."""

    kind: str
    words: tuple[str, str, str]
    feminine: bool
    measure: str


class Quality(NamedTuple):
    """A colour or another adjective: its words for a masculine and for a feminine noun."""

    masculine: tuple[str, str, str]
    feminine: tuple[str, str, str]

    def of(self, noun: Noun, tongue: int) -> str:
        return (self.feminine if noun.feminine else self.masculine)[tongue]


def held_out(*parts: Any) -> bool:
    """Whether this combination is for tests only."""
    return zlib.crc32("+".join(str(part) for part in parts).encode()) % HELD_OUT_SHARE == 0


class World:
    """What there is, how sentences about it read, and seeded draws of it.

    Args:
        folder: holds `world.yaml`.
        random: of the draws.
        test: draw combinations that are held out, else only others.
    """

    def __init__(self, folder: Path, random: Random, *, test: bool) -> None:
        data = YAML(typ="safe", pure=True).load(folder / "world.yaml")
        self.random, self.test = random, test
        self.people = [Person((name, name, chinese), gender == "f") for name, gender, chinese in data["people"]]
        self.nouns = [Noun(kind, (en, es, zh), g == "f", measure) for kind, en, es, g, zh, measure in data["nouns"]]
        self.kinds: dict[str, list[str]] = data["kinds"]
        self.colours = [_quality(words) for words in data["colours"]]
        self.opposites = [(_quality(one), _quality(other)) for one, other in data["opposites"]]
        self.places: list[list[str]] = data["places"]
        self.events: list[Any] = data["events"]
        self.about: dict[str, Any] = data["about"]
        self.patterns: dict[str, list[str]] = data["sentences"]

    def say(self, pattern: str, tongue: int, **fields: str) -> str:
        """A sentence, its first letter a capital."""
        text = self.patterns[pattern][tongue].format(**fields)
        return text[:1].upper() + text[1:]

    def value(self, person: Person, about: str) -> int:
        """Which of the values a person has: the same in every text and row; each value has as many people."""
        people = list(range(len(self.people)))
        Random(f"about {about}").shuffle(people)
        return people[self.people.index(person)] % len(self.about[about]["values"])

    def asked_about(self, about: str) -> list[Person]:
        """The people whom this split asks this about: a third of all in tests."""
        shift = list(self.about).index(about)
        return [person for n, person in enumerate(self.people) if ((n + shift) % 3 == 0) == self.test]

    def pair(self, kind: str, ones: list[Any], others: list[Any]) -> tuple[Any, Any]:
        """One of each that go together in this split."""
        while True:
            one, other = self.random.choice(ones), self.random.choice(others)
            if held_out(kind, key(one), key(other)) == self.test:
                return one, other

    def colours_of(self, noun: Noun) -> list[Quality]:
        """The colours that a thing has in this split: there may be none."""
        return [colour for colour in self.colours if held_out("colour", key(noun), key(colour)) == self.test]

    def owners(self, count: int) -> list[tuple[Person, Noun, Quality]]:
        """Different people with different things of different colours."""
        while True:
            found = [self.pair("has", self.people, self.nouns) for _ in range(count)]
            colours = [self.colours_of(noun) for _, noun in found]
            if all(colours):
                owners = [(*one, self.random.choice(some)) for one, some in zip(found, colours, strict=True)]
                if all(len({key(owner[place]) for owner in owners}) == count for place in range(3)):
                    return owners

    def located(self, count: int) -> list[tuple[Person, list[str]]]:
        """Different people in different places."""
        while True:
            found = [self.pair("at", self.people, self.places) for _ in range(count)]
            if all(len({key(item[place]) for item in found}) == count for place in range(2)):
                return found


def key(item: Any) -> str:
    """The English word of anything."""
    first = item.words if isinstance(item, Noun) else item[0]
    return first if isinstance(first, str) else str(first[0])


def _quality(words: list[str]) -> Quality:
    en, masculine, feminine, zh = words
    return Quality((en, masculine, zh), (en, feminine, zh))


def a(noun: Noun, tongue: int, colour: Quality | None = None) -> str:
    """`a red ball`, `una pelota roja`, `一个红色的球`."""
    word, of = noun.words[tongue], colour.of(noun, tongue) if colour else ""
    if tongue == 0:
        first = of or word
        return f"{'an' if first[0] in 'aeiou' else 'a'} {f'{of} ' if of else ''}{word}"
    if tongue == 1:
        return f"{'una' if noun.feminine else 'un'} {word}{f' {of}' if of else ''}"
    return f"一{noun.measure}{f'{of}的' if of else ''}{word}"


def the(noun: Noun, tongue: int) -> str:
    """`the ball`, `la pelota`, `球`."""
    article = ("the ", "la " if noun.feminine else "el ", "")[tongue]
    return article + noun.words[tongue]


def owned(person: Person, noun: Noun, tongue: int) -> str:
    """`Ana's ball`, `la pelota de Ana`, `安娜的球`."""
    name, word = person.names[tongue], noun.words[tongue]
    return (f"{name}'s {word}", f"{the(noun, 1)} de {name}", f"{name}的{word}")[tongue]


def event(world: World, number: int, side: int, person: Person, tongue: int) -> str:
    """The cause (0) or the effect (1) of an event that happens to a person."""
    forms = {"P": "She", "p": "她", "poss": "her"} if person.female else {"P": "He", "p": "他", "poss": "his"}
    return str(world.events[number][tongue][side]).format(n=person.names[tongue], **forms)


def has(world: World, owner: tuple[Person, Noun, Quality], tongue: int) -> str:
    """`Ana has a red ball.`"""
    person, noun, colour = owner
    return world.say("has", tongue, name=person.names[tongue], coloured=a(noun, tongue, colour))


def is_so(world: World, person: Person, noun: Noun, quality: Quality, tongue: int, pattern: str = "is_so") -> str:
    """`Ana's ball is big.`"""
    return world.say(pattern, tongue, owned=owned(person, noun, tongue), quality=quality.of(noun, tongue))


def is_colour(world: World, owner: tuple[Person, Noun, Quality], tongue: int) -> str:
    """`Ana's ball is red.`"""
    person, noun, colour = owner
    return world.say("is_colour", tongue, owned=owned(person, noun, tongue), colour=colour.of(noun, tongue))


def is_at(world: World, person: Person, place: list[str], tongue: int) -> str:
    """`Ana is in the kitchen.`"""
    return world.say("is_at", tongue, name=person.names[tongue], place=place[tongue])


def fact(world: World, person: Person, about: str, tongue: int) -> str:
    """`Ana lives in Lima.`"""
    told = world.about[about]
    value = told["values"][world.value(person, about)][tongue]
    return str(told["says"][tongue]).format(name=person.names[tongue], value=value)


def statement(world: World) -> Callable[[int], str]:
    """A fact: what says it in each language."""
    owner, (person, place) = world.owners(1)[0], world.located(1)[0]
    quality = world.random.choice(world.random.choice(world.opposites))
    which = world.random.randrange(4)

    def say(tongue: int) -> str:
        return (
            has(world, owner, tongue),
            is_at(world, person, place, tongue),
            is_so(world, owner[0], owner[1], quality, tongue),
            is_colour(world, owner, tongue),
        )[which]

    return say
