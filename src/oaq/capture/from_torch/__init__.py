"""From a ``torch.nn.Module`` to a ``FloatGraph``, by ``torch.export``."""

from oaq.capture.from_torch.normalize import normalize

__all__ = ["normalize"]
