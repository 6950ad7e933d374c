"""A report's plots, each as SVG to stand in a page."""

from loadgen.plots.attainment import attainment_plot
from loadgen.plots.distributions import distribution_plot
from loadgen.plots.foresight import foresight_plot
from loadgen.plots.timeline import timeline_plot

__all__ = ["attainment_plot", "distribution_plot", "foresight_plot", "timeline_plot"]
