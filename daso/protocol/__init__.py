"""What happens between the steps: phases of a run."""
