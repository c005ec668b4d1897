"""Colours shared by plots and pages."""

INK, ACCENT, NOT_YET, PALE = "#444444", "#c2410c", "#e0d8c8", "#d6d3d1"
DEMES = (
    "#3b6ea5",
    "#59a14f",
    "#b07aa1",
    "#2ba6a0",
    "#b8960c",
    "#9c755f",
    "#e0789a",
    "#1f3b6f",
    "#7fb341",
    "#6c6fc9",
)
"""One colour per deme; they repeat if there are more demes."""
