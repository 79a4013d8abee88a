"""Figures and the report: one function per figure, from a data frame to a plotly Figure.

What belongs here: how results look. Functions are pure; they read nothing but the report's own template.
What does not: computing results (`measures`), reading them (`store`), deciding when to draw (`assets`).
"""
