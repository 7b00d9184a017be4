"""Synthetic facial performances from the FACS literature: text labels in, coefficient sequences out.

Imports go downward: perform -> (emotion, blinks, gaze, speech) -> (dynamics, table) -> labels. The laws and their
sources are in `docs/performance.md`.
"""
