"""What every test shares: hypothesis without deadlines, because machines that build are slow and uneven."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("oaq", deadline=None, print_blob=True)
settings.load_profile("oaq")
