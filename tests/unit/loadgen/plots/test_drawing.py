import pytest
from matplotlib.figure import Figure

from loadgen.plots.drawing import scale_plainly


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (8.0, 120.0, ["10", "20", "50", "100"]),
        (25.0, 11_000.0, ["30", "100", "300", "1,000", "3,000", "10,000"]),
        (0.1, 30_000.0, ["0.1", "1", "10", "100", "1,000", "10,000"]),
    ],
)
def test_a_logarithmic_axis_has_plain_numbers_with_room_between_them(low, high, labels):
    axes = Figure().subplots()
    axes.plot([low, high], [0, 1])
    scale_plainly(axes, "x", low, high)
    within = [value for value in axes.xaxis.get_majorticklocs() if low <= value <= high]
    assert [axes.xaxis.get_major_formatter()(value) for value in within] == labels
