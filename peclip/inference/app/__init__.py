"""The web page of ``peclip serve``: a video -> what its faces show, in a browser (the extra ``app``)."""
