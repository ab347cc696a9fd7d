"""Classify a clip with an exported file, without peclip: python onnx_clip.py model.onnx FRAME.jpg FRAME.jpg ...

The frames are those of one clip in their order, such as of a face that is cut out. The file's metadata say the rest.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

if len(sys.argv) < 3:
    sys.exit("a model or its frames are missing: python onnx_clip.py model.onnx FRAME.jpg FRAME.jpg ...")
model, *paths = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
metadata = session.get_modelmeta().custom_metadata_map
wanted, labels = json.loads(metadata["preprocessing"]), json.loads(metadata["labels"])
size, count = wanted["image_size"], wanted["num_frames"]
# The middle of each of T equal pieces, or every frame of a shorter clip. Decimal numbers would be off by a frame at times.
places = [(2 * place + 1) * max(len(paths), count) // (2 * count) for place in range(count)]
chosen = [paths[min(place, len(paths) - 1)] for place in places]
frames = [ImageOps.fit(Image.open(path).convert("RGB"), (size, size), Image.Resampling.BICUBIC) for path in chosen]
pixels = np.stack(frames).astype(np.float32) * wanted["scale"]  # T, H, W, RGB
normalised = (pixels - np.float32(wanted["mean"])) / np.float32(wanted["std"])
(logits,) = session.run(["logits"], {"video": normalised.transpose(0, 3, 1, 2)[None].astype(np.float32)})
scaled = logits[0] / json.loads(metadata["temperature"])
shares = np.exp(scaled - scaled.max()) / np.exp(scaled - scaled.max()).sum()
for label, share in sorted(zip(labels, shares, strict=True), key=lambda pair: -pair[1]):
    print(f"{label}\t{share:.4f}")
