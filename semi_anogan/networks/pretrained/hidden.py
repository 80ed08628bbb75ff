"""A frozen network inside another one, out of its checkpoints."""


class Hidden:
    """Holds a Keras object without making its variables part of who holds the holder."""

    def __init__(self, content):
        self.content = content
