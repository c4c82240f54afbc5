"""Nets that were trained elsewhere: what each kind of file says, brought into the one form that export/tencrop_graph.py takes."""
