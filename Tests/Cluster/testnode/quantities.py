"""Kubernetes quantities as whole numbers: no floating point, so that a load of 12 cores over 7 pods is exact to the nanocore."""

from __future__ import annotations

import re
from fractions import Fraction

_SUFFIXES: dict[str, Fraction] = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12), "P": Fraction(10**15), "E": Fraction(10**18),
    "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40), "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip
_PATTERN = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")


def parse(quantity: str | int) -> Fraction:
    """The value of a quantity."""
    match = _PATTERN.fullmatch(str(quantity))
    if match is None:
        raise ValueError(f"not a quantity: {quantity!r}")
    number = Fraction(match[1])
    return number * Fraction(f"1{match[2]}") if match[2] else number * _SUFFIXES[match[3] or ""]


def cpu_text(cores: Fraction) -> str:
    """As metrics-server writes CPU: whole nanocores."""
    return f"{cores * 10**9 // 1}n"


def memory_text(size: Fraction) -> str:
    """As metrics-server writes memory: whole kibibytes."""
    return f"{size / 1024 // 1}Ki"


def value_text(value: Fraction) -> str:
    """Any other value: whole thousandths, shortened where whole."""
    thousandths = value * 1000 // 1
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
