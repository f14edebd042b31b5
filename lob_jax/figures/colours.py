"""Colours that remain distinguishable with colour blindness (Okabe and Ito, 2008)."""

BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
YELLOW, BLUE, VERMILION, PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"
GREY = "#7f7f7f"

SERIES = (
    BLUE,
    VERMILION,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    GREY,
    BLACK,
)  # yellow is too light for lines
REAL, GENERATED = BLACK, BLUE
HEAT = "cividis"  # a colour map of increasing lightness


def series(index: int) -> str:
    """Return the colour of a series; after the last colour they repeat."""
    return SERIES[index % len(SERIES)]
