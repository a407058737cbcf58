"""How values and texts are shown: on a terminal, in Markdown, in pictures."""
