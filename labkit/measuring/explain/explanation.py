"""What ``run.explain`` returns, and which event and which arrivals are meant; what is not there is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.errors import LabkitError, UnknownTechnique, package
from labkit.measuring.explain.dump import notes_html, story_html, story_lines, words
from labkit.measuring.explain.trace import story_of

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording


class Explanation:
    """What ``run.explain`` returns; shows itself as a table in a notebook and as text elsewhere.

    Attributes:
        run: what it was told from.
        event_id: the event that it is about.
        rows: the deliveries that are told of, one for each technique, as ``run.deliveries`` has them.
        stories: one for each of them, with its bytes and when each hop had them.
    """

    def __init__(self, run: Recording, event_id: int, rows: Sequence[dict[str, Any]]) -> None:
        self.run = run
        self.event_id = event_id
        self.rows = tuple(rows)
        self.stories = tuple(story_of(run, row) for row in rows)

    @property
    def text(self) -> str:
        """Every byte, once, with its times on each hop, as plain text."""
        told = ["\n".join(story_lines(self.event_id, story)) for story in self.stories]
        return "\n\n".join([*told, "\n".join(words(self.stories))]).rstrip()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        told = "".join(story_html(self.event_id, story) for story in self.stories)
        return f'<div class="labkit-explain">{told}{notes_html(words(self.stories))}</div>'


def explain(
    run: Recording,
    event_id: int,
    technique: str | None = None,
    *,
    topic: str | None = None,
    subscriber: int | None = None,
) -> Explanation:
    """Tell the story of one event.

    Args:
        technique: one of the run's; all that delivered the event, by default.
        topic: which topic's event, where several topics have one of that id.
        subscriber: the first that received it, by default.

    Raises:
        UnknownTechnique: the run did not have that technique.
        LabkitError: no such event, or it never arrived there; the message says which ids are known.
    """
    topic = _topic_of(run, event_id) if topic is None else topic
    rows = arrivals_of(run, event_id, technique, topic=topic, subscriber=subscriber)
    if not rows:
        raise LabkitError(_never_arrived(run, event_id, technique, topic, subscriber))
    return Explanation(run, event_id, rows)


def arrivals_of(
    run: Recording,
    event_id: int,
    technique: str | None = None,
    *,
    topic: str | None = None,
    subscriber: int | None = None,
) -> list[dict[str, Any]]:
    """The rows of ``run.deliveries`` that are meant by an event: its first arrival over each technique.

    Of several topics the empty one is meant, where it has an event of this id.

    Args: as for :func:`explain`.

    Raises:
        UnknownTechnique: the run did not have that technique.
    """
    pd = package("pandas")

    frame = run.deliveries
    techniques = list(dict.fromkeys([*(run.settings.get("techniques") or ()), *frame["technique"].unique()]))
    if technique is not None and technique not in techniques:
        raise UnknownTechnique(f"no {technique!r} in this run; it had {', '.join(techniques) or 'no technique'}")
    found = frame[frame["event_id"] == event_id]
    if topic is None and (found["topic"] == "").any():
        topic = ""
    for name, value in (("technique", technique), ("topic", topic), ("subscriber", subscriber)):
        if value is not None:
            found = found[found[name] == value]
    of_page = found["client"] == "browser"  # whose bytes are only in the ledger where it comes through a relay
    first = pd.concat([found[~of_page], found[of_page]]).drop_duplicates("technique").to_dict("records")
    return sorted(first, key=lambda row: techniques.index(row["technique"]))


def _known(run: Recording) -> dict[str, set[int]]:
    known: dict[str, set[int]] = {}
    arrived = zip(run.deliveries["topic"].tolist(), run.deliveries["event_id"].tolist(), strict=True)
    for topic, event_id in [*run.published, *arrived]:
        known.setdefault(topic, set()).add(event_id)
    return known


def _topic_of(run: Recording, event_id: int) -> str:
    known = _known(run)
    topics = [topic for topic, ids in known.items() if event_id in ids]
    if "" in topics or len(topics) == 1:
        return "" if "" in topics else topics[0]
    if topics:
        shown = ", ".join(topics[:8]) + (", ..." if len(topics) > 8 else "")
        raise LabkitError(f"event {event_id} is in {len(topics)} topics ({shown}): say which, with topic=...")
    ids = sorted(set().union(*known.values()))
    have = f"it has {_ranges(ids)}" if ids else "it has none"
    raise LabkitError(f"no event {event_id!r} in this run; {have}")


def _never_arrived(run: Recording, event_id: int, technique: str | None, topic: str, subscriber: int | None) -> str:
    if event_id not in _known(run).get(topic, ()):
        have = _ranges(sorted(_known(run).get(topic, ()))) or "none"
        return f"no event {event_id} in topic {topic!r} of this run; it has {have}"
    frame = run.deliveries
    there = frame[frame["topic"] == topic]
    there = there if technique is None else there[there["technique"] == technique]
    there = there if subscriber is None else there[there["subscriber"] == subscriber]
    who = f"{technique or 'any technique'}" + ("" if subscriber is None else f", subscriber {subscriber}")
    arrived = _ranges(sorted(set(there["event_id"].tolist()))) or "nothing"
    return f"event {event_id} was published but never arrived over {who}; arrived there: {arrived}"


def _ranges(ids: list[int]) -> str:
    """``1 to 17, 19``; only the outermost ends of more than six ranges."""
    ranges: list[list[int]] = []
    for event_id in ids:
        if ranges and event_id == ranges[-1][1] + 1:
            ranges[-1][1] = event_id
        else:
            ranges.append([event_id, event_id])
    if len(ranges) > 6:
        return f"{len(ids)} ids from {ids[0]} to {ids[-1]}"
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in ranges)
