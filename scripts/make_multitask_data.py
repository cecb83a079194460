"""Write data/multitask/{text.jsonl,tasks/} anew from data/multitask/world.yaml: the same bytes every time.

    python scripts/make_multitask_data.py [FOLDER [DRAW]]

FOLDER (default: data/multitask) holds `world.yaml`, which is written by hand. Plain text is drawn for each language
on its own; a task's rows are parallel: row n says the same in all languages. Texts tell all that tasks ask about;
training rows ask about some people, words, things and events, test rows about others. DRAW: any word, for other texts
and rows of the same world. Templates are written by hand and are not read here.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from multitask_tasks import HELD_OUT, TASKS
from multitask_world import LANGUAGES, SPACE, World, a, event, fact, is_so, statement

from align.io import write

TEXTS, TRAIN, TEST = 1700, 200, 120
"""Texts of each language; rows of each task, language and split."""
SENTENCES = 8
"""Of a text, at least."""
ASKED = 0.3
"""Share of portraits that end with a question and its answer."""


def portrait(world: World, tongue: int) -> list[str]:
    """Where somebody lives, what the pet is, and so on; at times somebody asks."""
    random = world.random
    person = random.choice(world.people)
    about = random.sample(list(world.about), 4)
    sentences = [fact(world, person, one, tongue) for one in about]
    if random.random() < ASKED:
        told = world.about[about[-1]]
        question = told["asks"][tongue].format(name=person.names[tongue])
        answer = told["values"][world.value(person, about[-1])][tongue]
        sentences[-1] = world.say("teacher", tongue, question=question, answer=answer)
    return sentences


def contrast(world: World, tongue: int) -> list[str]:
    """What things are like, and what they are not like."""
    sentences = []
    for person, noun, _ in world.owners(3):
        one, other = world.random.sample(world.random.choice(world.opposites), 2)
        said = [
            is_so(world, person, noun, one, tongue),
            is_so(world, person, noun, other, tongue, "is_not"),
            world.say("word", tongue, word=one.masculine[tongue], other=other.masculine[tongue]),
        ]
        sentences += said[: world.random.choice((2, 3))]
    return sentences


def story(world: World, tongue: int) -> list[str]:
    """What happened and what came of it, or what was seen and why."""
    sentences = []
    for person in world.random.sample(world.people, 3):
        number = world.random.randrange(len(world.events))
        cause, effect = (event(world, number, side, person, tongue) for side in (0, 1))
        why = world.say("why", tongue)
        sentences += [cause, effect] if world.random.random() < 0.6 else [effect, why, cause]
    return sentences


def lesson(world: World, tongue: int) -> list[str]:
    """What is what."""
    random = world.random
    sentences = []
    for noun in random.sample(world.nouns, 4):
        is_it = random.random() < 0.7
        kind = noun.kind if is_it else random.choice([kind for kind in world.kinds if kind != noun.kind])
        said = {"a": a(noun, tongue), "bare": noun.words[tongue], "kind": world.kinds[kind][tongue]}
        sentences.append(world.say("is_kind" if is_it else "is_no_kind", tongue, **said))
    return sentences


def languages(world: World, tongue: int) -> list[str]:
    """A fact in another language, then in this one."""
    say = statement(world)
    other = world.random.choice([one for one in range(len(LANGUAGES)) if one != tongue])
    return [world.patterns["means"][tongue].format(said=say(other), same=say(tongue))]


KINDS_OF_TEXT: tuple[tuple[Callable[[World, int], list[str]], int], ...] = (
    (portrait, 6),
    (contrast, 2),
    (story, 2),
    (lesson, 2),
    (languages, 4),
)


def texts(folder: Path, tongue: int, draw: str) -> Iterator[str]:
    """Plain texts of a language, none twice."""
    world = World(folder, Random(f"{draw}text {LANGUAGES[tongue]}"), test=False)
    seen: set[str] = set()
    makers, weights = zip(*KINDS_OF_TEXT, strict=True)
    while len(seen) < TEXTS:
        sentences: list[str] = []
        while len(sentences) < SENTENCES:
            (make,) = world.random.choices(makers, weights)
            sentences += make(world, tongue)
        text = world.random.choice((SPACE[tongue], "\n")).join(sentences)
        if text not in seen:
            seen.add(text)
            yield text


def main(folder: Path, draw: str) -> None:
    """Write the text and every task; another `draw` gives others."""
    rows = [
        {"prompt": "\n", "completion": text}
        for together in zip(*(texts(folder, tongue, draw) for tongue in range(len(LANGUAGES))), strict=True)
        for text in together
    ]
    write(folder / "text.jsonl", rows)
    for task, make in (TASKS | HELD_OUT).items():
        for split, count in (("train", 0 if task in HELD_OUT else TRAIN), ("test", TEST)):
            if not count:
                continue
            made = make(World(folder, Random(f"{draw}{task} {split}"), test=split == "test"), count)
            for tongue, language in enumerate(LANGUAGES):
                write(folder / "tasks" / task / f"{split}.{language}.jsonl", (row[tongue] for row in made))


if __name__ == "__main__":
    shipped = Path(__file__).parents[1] / "data" / "multitask"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else shipped, sys.argv[2] if len(sys.argv) > 2 else "")
