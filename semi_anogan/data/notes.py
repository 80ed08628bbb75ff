"""What a person should know of how data were found and read: each kind in one line, with its count."""

import re


class Notes:
    """Lines about data: things of one kind are counted and told together, with the first as an example."""

    def __init__(self):
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, text: str, first: str = "", count: int = 1):
        """Adds `count` things of one kind.

        Args:
          text: the line of the kind; "{n}" in it stands for how many there are in all, "{first}" for the
            first example.
          first: example of what is added now.
          count: 0 adds nothing.
        """
        if count:
            n, example = self._found.get(text, (0, first))
            self._found[text] = n + count, example

    def lines(self) -> list[str]:
        """A line for each kind, in the order of their first."""
        return [
            in_one_line(text.replace("{n}", str(n)).replace("{first}", str(first)))
            for text, (n, first) in self._found.items()
        ]

    def counted(self) -> list[tuple[str, int, str]]:
        """(text, count, first) of each kind, as `add` takes them: to put several Notes together."""
        return [(text, n, first) for text, (n, first) in self._found.items()]


def in_one_line(text: str) -> str:
    """A text with what breaks a line, as names of files may have it, as `\\n` and the like."""
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)
