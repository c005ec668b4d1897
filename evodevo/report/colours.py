"""The colours that plots and pages have in common."""

INK, ACCENT = "#444444", "#c2410c"
