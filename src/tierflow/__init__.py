"""tierflow measures scientific images, scores how interesting they are and routes the files to storage tiers."""

__version__ = "0.1.0"
