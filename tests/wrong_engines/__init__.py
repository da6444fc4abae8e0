"""Torch with exactly one defect put in, as subtle as a real backend's; a rule that catches none of them says nothing.

A wrong engine is a context manager. It is named by one item of spec/, which says what it breaks and which rules
catch it; `pytest tests/meta` holds it to that.
"""
