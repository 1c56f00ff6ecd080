"""HTML for notebooks."""

from html import escape


def preformatted(text: str) -> str:
    """Text whose columns stay aligned: the pages of nbconvert give it a proportional font."""
    return f'<pre style="font-family:monospace">{escape(text)}</pre>'
