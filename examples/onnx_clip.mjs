// Classify a clip in a page or in node, without peclip: node onnx_clip.mjs model.onnx clip.json
// clip.json: {"video": normalised frames as one list of B*T*3*H*W numbers, "dims": [1, T, 3, H, W], "labels": [...], "temperature": 1}
// In a page, import from "https://your.server/ort.min.mjs" and make the frames from a canvas with getImageData.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
const [model, clip] = process.argv.slice(2);
if (!clip) throw new Error("a model or a clip is missing: node onnx_clip.mjs model.onnx clip.json");
const { video, dims, labels, temperature } = JSON.parse(await readFile(clip, "utf8"));
const session = await ort.InferenceSession.create(await readFile(model));
const { logits } = await session.run({ video: new ort.Tensor("float32", Float32Array.from(video), dims) });
const scaled = Array.from(logits.data, (value) => value / temperature);
const top = Math.max(...scaled);
const weights = scaled.map((value) => Math.exp(value - top));
const total = weights.reduce((sum, value) => sum + value, 0);
labels.forEach((label, place) => console.log(`${label}\t${(weights[place] / total).toFixed(4)}`));
