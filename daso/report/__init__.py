"""From finished runs to the paper's tables and figures, beside the published numbers."""
