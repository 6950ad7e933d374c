"""The forecaster: learns how long each engine's steps take from telemetry, and writes forecasts that lens and prism read."""
