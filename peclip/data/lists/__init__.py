"""Lists of clips as other programs pass them on: columns of any form, labels by number, and paths of another machine."""
