"""What an experiment tells. Pure."""

from typing import NamedTuple


class Document(NamedTuple):
    """A page."""

    text: str
    """Markdown; the figure is beside it, under the experiment's name."""
    figure: str
    """SVG."""
