"""Measures as plain functions of numpy arrays: no torch, no OpenMMLab."""
