"""Dealing challenges to attackers, and scoring what they guess.

The truth stays in a ``Challenge``; the attacker gets its ``public`` half and a ``Sight``.
Patients are compared with patients of the same hospital, and only then is anything combined:
pooled raw scores would tell hospitals apart, not members.
"""

from fedbench.games.blind import STRICT, blind_baseline, distrust
from fedbench.games.canaries import Claim
from fedbench.games.controls import (
    CAUGHT,
    FOLLOWED,
    IGNORED,
    QUIET,
    TURNED,
    blunted,
    must_catch,
    must_follow,
    must_ignore,
    must_stay_silent,
    turned,
)
from fedbench.games.dealing import (
    Challenge,
    SplitControl,
    attribute_challenges,
    membership_challenge,
    secrets_of,
    show,
    split_control,
)
from fedbench.games.exposure import exposure
from fedbench.games.inference import play_attribute, reference_guess
from fedbench.games.linkage import halves_of, linkage_challenges, play_linkage
from fedbench.games.membership import ALPHAS, WORST, play_membership
from fedbench.games.playing import PLAYED, Dealt, deal, play
from fedbench.games.scoring import FEW, Scored
from fedbench.games.telling import TOLD, Telling, told_as

__all__ = [
    "ALPHAS",
    "CAUGHT",
    "FEW",
    "FOLLOWED",
    "IGNORED",
    "PLAYED",
    "QUIET",
    "STRICT",
    "TOLD",
    "TURNED",
    "WORST",
    "Challenge",
    "Claim",
    "Dealt",
    "Scored",
    "SplitControl",
    "Telling",
    "attribute_challenges",
    "blind_baseline",
    "blunted",
    "deal",
    "distrust",
    "exposure",
    "halves_of",
    "linkage_challenges",
    "membership_challenge",
    "must_catch",
    "must_follow",
    "must_ignore",
    "must_stay_silent",
    "play",
    "play_attribute",
    "play_linkage",
    "play_membership",
    "reference_guess",
    "secrets_of",
    "show",
    "split_control",
    "told_as",
    "turned",
]
