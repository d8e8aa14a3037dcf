// Stylises a picture with an ONNX generator: pixels -> [1, 3, h, w] in [-1, 1] -> pixels, as stylize.py does.

const LARGEST = 1_000_000; // pixels of a picture that goes through at once; a larger one is made smaller
const MULTIPLE = 4; // sides are continued to multiples of it by their mirror image
const LEAST = 16; // and to this many pixels

const at = (id) => document.getElementById(id);
let session = null;
let waiting = null; // a picture that came before the model

function say(text, failed = false) {
  at("status").textContent = text;
  at("status").className = failed ? "error" : "";
}

// A place beyond the end of an axis, mirrored at its last place as often as needed.
function mirrored(place, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const inside = place % period;
  return inside < length ? inside : period - inside;
}

function continued(length) {
  return Math.max(LEAST, Math.ceil(length / MULTIPLE) * MULTIPLE);
}

function toTensor({ data, width, height }) {
  const [w, h] = [continued(width), continued(height)];
  const values = new Float32Array(3 * h * w);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const from = 4 * (mirrored(y, height) * width + mirrored(x, width));
      for (let c = 0; c < 3; c++) values[(c * h + y) * w + x] = data[from + c] / 127.5 - 1;
    }
  }
  return new ort.Tensor("float32", values, [1, 3, h, w]);
}

function toPixels(tensor, width, height) {
  const [, , h, w] = tensor.dims;
  if (tensor.data.some(Number.isNaN)) throw new Error("its picture has values that are no numbers");
  const pixels = new ImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const to = 4 * (y * width + x);
      // A Uint8ClampedArray rounds, and clips to 0..255.
      for (let c = 0; c < 3; c++) pixels.data[to + c] = (tensor.data[(c * h + y) * w + x] + 1) * 127.5;
      pixels.data[to + 3] = 255;
    }
  }
  return pixels;
}

async function loadModel(bytes, name) {
  say(`Loading ${name}.`);
  try {
    session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  } catch (error) {
    session = null;
    say(`${name} is not an ONNX file that can be run: ${error.message}`, true);
    return;
  }
  if (waiting) await stylize(waiting);
  else say(`${name} is loaded: drop a picture.`);
}

async function stylize(file) {
  if (!session) {
    waiting = file;
    say("Now choose a model: model.onnx of an export.");
    return;
  }
  waiting = null;
  let image;
  try {
    image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    say(`${file.name} is not a picture that this browser can read.`, true);
    return;
  }
  const scale = Math.min(1, Math.sqrt(LARGEST / (image.width * image.height)));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
  const before = at("before");
  [before.width, before.height] = [width, height];
  const context = before.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // shows at transparent places
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0, width, height);
  say("Stylising.");
  const start = performance.now();
  try {
    const given = toTensor(context.getImageData(0, 0, width, height));
    const found = await session.run({ [session.inputNames[0]]: given });
    const pixels = toPixels(found[session.outputNames[0]], width, height);
    const after = at("after");
    [after.width, after.height] = [width, height];
    after.getContext("2d").putImageData(pixels, 0, 0);
  } catch (error) {
    say(`The model cannot stylise ${file.name}: ${error.message}`, true);
    return;
  }
  const smaller = scale < 1 ? ` of a picture made smaller, from ${image.width} x ${image.height}` : "";
  const seconds = ((performance.now() - start) / 1000).toFixed(2);
  at("save").disabled = false;
  say(`${width} x ${height} pixels${smaller} in ${seconds} s.`);
}

// One file after the other, models first: a picture that comes with a model is stylised by it.
async function take(files) {
  const isModel = (file) => file.name.endsWith(".onnx");
  for (const file of [...files].sort((a, b) => isModel(b) - isModel(a))) {
    if (isModel(file)) await loadModel(new Uint8Array(await file.arrayBuffer()), file.name);
    else await stylize(file);
  }
}

at("model").addEventListener("change", (event) => take(event.target.files));
at("picture").addEventListener("change", (event) => take(event.target.files));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
at("save").addEventListener("click", () => {
  at("after").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "stylised.png";
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
});

if (typeof ort === "undefined") {
  say("onnxruntime-web is missing: npm install in this folder, then serve it (python -m http.server).", true);
} else {
  ort.env.wasm.numThreads = self.crossOriginIsolated ? undefined : 1; // threads need isolation
  ort.env.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", location.href).href;
  // A model named in the address (?model=model.onnx), or one beside the page.
  const asked = new URLSearchParams(location.search).get("model");
  const answer = await fetch(asked ?? "model.onnx").catch(() => null);
  if (answer?.ok) await loadModel(new Uint8Array(await answer.arrayBuffer()), asked ?? "model.onnx");
  else if (asked) say(`There is no ${asked} here.`, true);
  else if (!session) say("Choose a model: model.onnx of an export.");
}
