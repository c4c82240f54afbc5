"""Converts nets that were trained elsewhere to the form that export/tencrop_graph.py takes."""
