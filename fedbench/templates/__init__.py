"""Plug-ins to start from; ``fedbench new`` copies one under another name."""
