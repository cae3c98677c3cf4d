"""Seed one defect at a time into what proofs and integers rest on, and see whether a test notices.

``python_edits`` and ``native_edits`` list every edit there is, ``choice`` picks some evenly, ``tree`` holds copies of
the source in which they are tried, ``quick`` is the first test of each.
"""
