"""The exercises of 16_when_it_does_not_work."""

from __future__ import annotations

from labkit.claims.exercises import Drawn, Exercise


def _heartbeat(limits_s: tuple[int, int, int]) -> Exercise:
    half_s = min(limits_s) / 2

    def judge(seconds: float) -> str | None:
        if not 0 < seconds <= half_s:
            late = "one that is late or lost, and the hop with the smallest limit ends the stream."
            return f"Every {seconds:g} s: {late}"
        return None if seconds >= 1 else "It is enough, and most of what you send is heartbeats."

    first, second, third = limits_s
    return Exercise(
        "s",
        judge,
        f"No more than half of the smallest limit: {half_s:g} s or less.",
        "each hop counts for itself; the smallest limit decides, and one heartbeat may be late.",
        question=f"Three hops on the way end what is silent for {first}, {second} and {third} s. How often do you send "
        "a heartbeat, in seconds?",
    )


def _limit(limit_s: int, talked_s: tuple[float, float, float]) -> Exercise:
    """Of three cuts: *talked_s* is from the request to the last byte of each."""
    quiet_s = (limit_s + 0.0, limit_s + 0.1, limit_s + 0.0)
    since_request = [round(quiet + talked, 1) for quiet, talked in zip(quiet_s, talked_s, strict=True)]
    return Exercise(
        "s",
        lambda seconds: None if abs(seconds - limit_s) <= 0.5 else "Which of the two clocks is the same in all three?",
        f"{limit_s} s since the last byte, each time: an idle limit. The times since the request are three.",
        "subtract: one clock began with the request, the other with the last byte.",
        question="A stream was cut three times: {}, {} and {} s after its request, and {}, {} and {} s after its last "
        "byte. What is the limit, in seconds?".format(*since_request, *quiet_s),
    )


def _row(number: float) -> str | None:
    return None if number == 3 else "A buffer of a proxy's holds the head as well, and it would hold identity too."


EXERCISES: dict[str, Exercise | Drawn] = {
    "16.1": Drawn(_heartbeat, {"limits_s": ((60, 100, 30), (60, 40, 300), (50, 100, 75), (120, 60, 90))}),
    "16.2": Drawn(_limit, {"limit_s": (30, 20, 45, 60), "talked_s": ((1.2, 17.8, 8.5), (4.4, 0.9, 31.0))}),
    "16.3": Exercise(
        "row",
        _row,
        "Row 3: gzip's ten bytes of header and then silence are a compressor that is not flushed.",
        "docs/symptoms.md; what are ten bytes at the head of a gzip stream?",
    ),
}
