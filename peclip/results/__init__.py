"""What a run leaves behind, read and reported: scores, intervals, comparisons, tables and figures. No torch."""
