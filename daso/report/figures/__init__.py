"""Figures: what each shows, of which runs, how it is drawn, and on what it stands."""
