"""Tests of figures and report."""
