"""Nets that were trained elsewhere: what each kind of file says, brought into the one form that export/pipeline.py takes."""
