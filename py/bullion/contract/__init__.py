"""The words both languages speak: errors, specs, messages. Imports neither torch nor transformers."""
