"""What an accusation is worth: it depends on how many of the suspects are guilty.

Attack sets of equally many members and others flatter an attacker who suspects many and knows of
few (El Emam, Mosquera and Fang 2022, https://doi.org/10.1093/jamiaopen/ooac083).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedbench.stats import Interval

__all__ = ["Accusation"]


@dataclass(frozen=True)
class Accusation:
    """An attack that finds a share ``tpr`` of members and accuses a share ``fpr`` of others.

    Limits take the worse end of both shares together, so that they hold at least as often.

    >>> found = Accusation(Interval(0.5, 0.4, 0.6), Interval(0.01, 0.004, 0.02))
    >>> round(found.precision(0.1).value, 3)
    0.847
    """

    tpr: Interval
    fpr: Interval

    def precision(self, prevalence: float) -> Interval:
        """Return the share of the accused who are members, if so many suspects are.

        Raises:
            ValueError: the prevalence is not a share above 0 and below 1.
        """
        _check(prevalence)
        return self._each(lambda tpr, fpr: _ratio(prevalence * tpr, (1 - prevalence) * fpr))

    def f1(self, prevalence: float) -> Interval:
        """Return the harmonic mean of that share and of the share of members found.

        Raises:
            ValueError: as `precision`.
        """
        _check(prevalence)
        return self._each(
            lambda tpr, fpr: _ratio(
                2 * prevalence * tpr, prevalence * (1 - tpr) + (1 - prevalence) * fpr
            )
        )

    @staticmethod
    def naive_f1(prevalence: float) -> float:
        """Return the F1 of accusing everybody, which no guess without knowledge exceeds."""
        _check(prevalence)
        return 2 * prevalence / (1 + prevalence)

    def _each(self, of: Callable[[float, float], float]) -> Interval:
        """Both grow with the share of members found, and shrink with that of others accused."""
        tpr, fpr = self.tpr, self.fpr
        return Interval(of(tpr.value, fpr.value), of(tpr.low, fpr.high), of(tpr.high, fpr.low))


def _ratio(top: float, rest: float) -> float:
    return top / (top + rest) if top > 0 else 0.0


def _check(prevalence: float) -> None:
    if not 0 < prevalence < 1:
        raise ValueError(f"The prevalence is {prevalence}; expected a share above 0 and below 1.")
