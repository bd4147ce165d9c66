"""Tables: the paper's, the field's, and those of any runs; what is asked of one, and how it is written."""
