"""A stand-in for what the process of the review page answers with."""

import os
import time
from typing import NamedTuple

from semi_anogan.errors import RunError


class Stand(NamedTuple):
    """Answers with what it is asked, and how many were asked before; some words make it do otherwise."""

    begins: bool = True

    def load(self):
        if not self.begins:
            raise RunError("run/memory.npz: cannot be read")
        count = 0

        def answer(asked):
            nonlocal count
            count += 1
            if asked == "bad":
                raise RunError("0.png: cannot be read")
            if asked == "bug":
                raise KeyError("center")
            if asked == "die":
                os._exit(1)
            if asked == "slow":
                time.sleep(60)
            return {"asked": asked, "count": count}

        return answer
