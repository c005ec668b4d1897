"""The colours that plots and pages have in common."""

INK, ACCENT, NOT_YET = "#444444", "#c2410c", "#e0d8c8"
