"""How the tables came to be, one step a file. Additive first: an older worker goes on beside a newer one."""
