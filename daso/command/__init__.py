"""How the program starts and ends."""
