"""Reasons as rows store them, in words that need no statistics."""

from __future__ import annotations

import re

__all__ = ["plain"]

_SAID = {
    r"TPR at (?P<at>[\d.]+) % FPR needs (?P<least>[\d,]+) non-members; "
    r"(?P<found>[\d,]+) (?P<be>is|are) there\.?": (
        "It takes {least} patients who were not trained on to speak of {at} % false alarms, and "
        "{found} {be} there (TPR at {at} % FPR)."
    ),
    r"TPR at (?P<at>[\d.]+) % FPR needs (?P<least>[\d,]+) non-members in sites with members and "
    r"at least (?P<each>[\d,]+) of them; (?P<found>[\d,]+) (?P<be>is|are) there\.?": (
        "It takes {least} patients who were not trained on, at hospitals with training patients "
        "and at least {each} of them, to speak of {at} % false alarms, and {found} {be} there "
        "(TPR at {at} % FPR)."
    ),
    r"TPR at (?P<at>[\d.]+) % FPR needs non-members where the members are; "
    r"(?P<found>[\d,]+) are there, but worth (?P<worth>[\d,]+) spread like the members\.?": (
        "To speak of {at} % false alarms, patients who were not trained on must be at the same "
        "hospitals as those who were; {found} are there, but are worth only {worth} spread "
        "like these (TPR at {at} % FPR)."
    ),
    r"(?P<what>AUC|A p-value) needs a site with both members and non-members; there is none\.?": (
        "{what} needs a hospital with patients who were trained on and others who were not; "
        "there is none."
    ),
    r"No site has (?P<some>\w+) members and (?P<others>\w+) others(?P<rest>.*)": (
        "No hospital has {some} patients who were trained on and {others} who were not{rest}"
    ),
    r"0 sites have enough patients for a row; the worst of 2 is needed\.?": (
        "No hospital has enough patients for a number of its own; the worst is that of at least 2."
    ),
    r"1 (site has|sites have) enough patients for a row; the worst of 2 is needed\.?": (
        "Only 1 hospital has enough patients for a number of its own; the worst is that of at "
        "least 2."
    ),
    r"(?P<events>\d+) events?; a row of its own needs (?P<least>\d+)": (
        "{events} patients with the event; a number of its own needs {least}"
    ),
    r"(?P<events>\d+) with and (?P<others>\d+) without the event; a row of its own needs "
    r"(?P<least>\d+) of each": (
        "{events} patients with and {others} without the event; a number of its own needs "
        "{least} of each"
    ),
}
_PATTERNS = tuple((re.compile(pattern), said) for pattern, said in _SAID.items())


def plain(reason: str) -> str:
    """Return a stored reason in plain words; one that is not known stays as it is."""
    for pattern, said in _PATTERNS:
        if found := pattern.fullmatch(reason):
            return re.sub(r"\b1 patients\b", "1 patient", said.format_map(found.groupdict()))
    return reason
