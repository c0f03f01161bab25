"""What adapter authors need to test an action: the contracts, and a cloud in memory that can say no."""
