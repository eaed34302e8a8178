"""Temporal modules: frames exchange features."""
