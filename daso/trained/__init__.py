"""What a finished run is good for: its network answers, is exported, and its numbers and curves are at hand."""
