"""Layers and modules that several papers share."""
