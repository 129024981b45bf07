"""Actions read backwards: what stands in the places of a template.

    Template("go to {object} {number}", integers={"number"}).read("go to red ball 1")
    {"object": "red ball", "number": "1"}

Where a text can be read in several ways, the first places hold the most.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

PLACE = re.compile(r"\{(\w+)\}")
_INTEGER = "-?[0-9]{1,4300}+"
"""As long as Python reads them; possessive, so that no digit is tried twice."""


@dataclass(frozen=True)
class _Gap:
    """What follows a place for text: `literal`; by `pattern` with the integers up to the next such place."""

    literal: str
    pattern: re.Pattern[str]

    def rightmost(self, text: str, low: int, high: int, is_last: bool) -> re.Match[str] | None:
        """The last match in `text[low:high]` with text before it, and after it text or, at last, none."""
        start = text.rfind(self.literal, low, high)
        while start > low:
            match = self.pattern.match(text, start, high)
            if match and not text[start - 1].isspace():
                end = match.end()
                if end == high if is_last else end < high and not text[end].isspace():
                    return match
            start = text.rfind(self.literal, low, start + len(self.literal) - 1)
        return None


class Template:
    """A form with places `{name}`: for a text without space around it or, if in `integers`, for an integer.

    Reading takes time linear in the length of the text where a literal stands between any two places:
    literals are looked for from the right, each in what the one after it left.
    """

    def __init__(self, form: str, integers: Collection[str]) -> None:
        parts = PLACE.split(form)
        self._places: list[str] = []
        literals, patterns = [parts[0]], [re.escape(parts[0])]
        for name, literal in zip(parts[1::2], parts[2::2], strict=True):
            if name in integers:
                patterns[-1] += f"(?P<{name}>{_INTEGER}){re.escape(literal)}"
            else:
                self._places.append(name)
                literals.append(literal)
                patterns.append(re.escape(literal))
        gaps = [_Gap(*gap) for gap in zip(literals, map(re.compile, patterns), strict=True)]
        self._head, self._gaps = gaps[0].pattern, gaps[1:]

    def read(self, text: str) -> dict[str, str] | None:
        """What stands in each place; None when the text has another form or several lines."""
        head = self._head.match(text)
        if head is None or len(text.splitlines()) != 1:
            return None
        found, low, high = head.groupdict(), head.end(), len(text)
        if not self._gaps:
            return found if low == high else None
        if low == high or text[low].isspace():
            return None
        after: list[int] = []
        for index in reversed(range(len(self._gaps))):
            match = self._gaps[index].rightmost(text, low, high, is_last=not after)
            if match is None:
                return None
            if after:
                found[self._places[index + 1]] = text[match.end() : after[-1]]
            found |= match.groupdict()
            high = match.start()
            after.append(high)
        found[self._places[0]] = text[low:high]
        return found
