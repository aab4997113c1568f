"""What is printed: numbers by one rounding rule, and tables of text.

Every printed number has two decimals of percent, halves away from zero. The rule works on the shortest decimal text of
the stored number, so 0.00125 prints as 0.13 whatever its binary tail, and a command, README, CSV and page can never
disagree in the last digit. Stored values stay unrounded.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Collection, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

MISSING = "-"
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Characters that show as nothing, or that turn the text around them: controls, marks of direction, lone surrogates."""
_PLAIN = re.compile(r"[\w .,:;+\-%/()\[\]±]*")
"""Letters, digits and marks that are themselves in HTML: most cells of a table."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: str) -> str:
    """Spell what cannot be seen, or reorders what can, as \\u escapes: two names that look alike are alike."""
    if text.isprintable():  # which none of them is
        return text
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_data(value: Any) -> Any:
    """JSON data with every text in it made `visible`: a page's script shows them as they are."""
    if isinstance(value, dict):
        return {visible_data(key): visible_data(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [visible_data(inner) for inner in value]
    return visible(value) if isinstance(value, str) else value


def html_text(text: str) -> str:
    """A text as HTML that shows it and does nothing else."""
    return text if _PLAIN.fullmatch(text) else html.escape(visible(text))


def table_cell(text: str) -> str:
    """A text as a cell of a CSV file, which spreadsheets take for a formula by its first character.

    Those get an apostrophe in front; a number and a lone "-" do nothing and stay.
    """
    text = visible(text)
    if not text.startswith(_FORMULA):
        return text
    harmless = text == MISSING or re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text)
    return text if harmless else f"'{text}"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would say them in."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def percent(fraction: float | None, *, decimals: int = 2) -> str:
    """Print a fraction in 0..1 as percent (0.42428 -> '42.43'); None and NaN print as '-'."""
    missing = fraction is None or math.isnan(fraction)
    return MISSING if missing else fixed(exact_percent(fraction), decimals)


def exact_percent(fraction: float) -> Decimal:
    """Return a fraction as percent without losing or adding a digit (0.07 -> 7, not 7.000000000000001)."""
    return Decimal(repr(float(fraction))).scaleb(2)


def fixed(value: float | Decimal, decimals: int) -> str:
    """Print a number with that many decimals by the rule above."""
    number = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    text = str(number.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))
    return text.removeprefix("-") if not text.strip("-0.") else text


def signed(fraction: float | None) -> str:
    """Print a difference of fractions as signed percent points (0.012 -> '+1.20')."""
    text = percent(fraction)
    return text if text == MISSING or text.startswith("-") else f"+{text}"


def spread(mean: float | None, std: float | None) -> str:
    """Print 'mean ± std' in percent; one run has no spread and prints its value alone."""
    return percent(mean) if std is None or mean is None else f"{percent(mean)} ± {percent(std)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Lay out rows of cells as lines: two spaces between columns, numbers flush right.

    Args:
        head: the columns' names; [] for none.
        rows: as many cells each.
        left: columns of words, flush left.
    """
    lines = [*([head] if head else []), *rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    sides = ["<" if column in left else ">" for column in range(len(widths))]
    return ["  ".join(f"{c:{side}{w}}" for c, side, w in zip(line, sides, widths)).rstrip() for line in lines]


def span_order(span: str) -> tuple[float, float]:
    """Sort key of averages by name ("0.1:0.7"): narrow ranges before wide ones, then by where they begin."""
    low, _, high = span.partition(":")
    return (round(float(high) - float(low), 6) if high else 0.0, float(low))
