"""An oracle that shares nothing with oaq, a generator of programs at the edges, and a campaign that compares them.

``float32``, ``laws``, ``windows``, ``oracle``, ``registers`` and ``refusals`` are the oracle; ``draw``, ``numbers``,
``layers`` and ``inputs`` draw programs and inputs. None of them imports oaq: they read and write the plain form of a
program (what an ``.oaq`` file holds). ``subject`` alone asks oaq, and ``campaign`` counts.
"""
