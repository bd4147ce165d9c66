"""How the program starts and ends; nothing is imported here, so that its first line comes at once."""

STARTS = "Starting; the libraries take some seconds."
