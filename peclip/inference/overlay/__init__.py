"""Show answers in the video itself: boxes, labels and a running timeline, in a file or in a window."""
