"""From canonical records to tokens, labels and packs. Imports no model."""
