"""What lets a file prove itself: a certificate of its program and a signature of its outputs."""

from __future__ import annotations

from oaq.seal.parts import certificate, save, sealed_parts
from oaq.seal.signature import model_signature, signature_part, stored_signature

__all__ = ["certificate", "model_signature", "save", "sealed_parts", "signature_part", "stored_signature"]
