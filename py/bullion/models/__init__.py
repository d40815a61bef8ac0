"""Models on disk and in memory: fetching, loading, adapters. Knows no recipe, job or HTTP."""
