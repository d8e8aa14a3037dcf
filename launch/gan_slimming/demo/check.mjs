// Opens the page in headless Chromium, drops a picture and compares the result with a PNG.
//
//   node check.mjs MODEL.onnx PICTURE EXPECTED.png [ALLOWED]
//
// ALLOWED is the largest difference, of 255; 2 unless given. Chromium is $CHROMIUM or /usr/bin/chromium. check.py
// makes the files.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { basename, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const SCRIPT = "text/javascript";
const KINDS = { ".html": "text/html", ".js": SCRIPT, ".mjs": SCRIPT, ".wasm": "application/wasm" };
const HERE = fileURLToPath(new URL(".", import.meta.url));

function fail(text) {
  console.error(`error: ${text}`);
  process.exit(1);
}

// Serves this folder, and nothing above it, on a free port.
async function serve() {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    try {
      const content = await readFile(join(HERE, path.endsWith("/") ? `${path}index.html` : path));
      response.writeHead(200, { "content-type": KINDS[extname(path)] ?? "text/html" }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return server;
}

// Runs in the page: drops files as a user does.
async function drop(files) {
  const transfer = new DataTransfer();
  for (const { name, base64 } of files) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
}

// Runs in the page: how far the canvas is from a PNG.
async function compare(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
  const found = document.getElementById("after");
  const expected = new OffscreenCanvas(image.width, image.height);
  expected.getContext("2d").drawImage(image, 0, 0);
  if (found.width !== image.width || found.height !== image.height) {
    return { sizes: `${found.width} x ${found.height}, not ${image.width} x ${image.height}` };
  }
  const [a, b] = [found, expected].map(
    (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data,
  );
  const values = a.filter((_, i) => i % 4 < 3); // without alpha, which is 255 in both
  let [largest, different] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const far = Math.abs(a[i] - b[i]);
    largest = Math.max(largest, far);
    different += far > 0;
  }
  const range = [values.reduce((x, y) => Math.min(x, y)), values.reduce((x, y) => Math.max(x, y))];
  return { largest, share: different / values.length, range };
}

const [model, picture, expected, allowed = "2"] = process.argv.slice(2);
if (!expected) fail("usage: node check.mjs MODEL.onnx PICTURE EXPECTED.png [ALLOWED]");
let chromium;
try {
  ({ chromium } = await import("playwright-core"));
} catch {
  fail("playwright-core is missing: npm install in launch/gan_slimming/demo");
}
const contents = await Promise.all([model, picture, expected].map((path) => readFile(path, "base64")))
  .catch((error) => fail(error.message));
const server = await serve();
const browser = await chromium
  .launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] })
  .catch((error) => {
    fail(`Chromium does not start (apt-get install chromium, or set CHROMIUM): ${error.message.split("\n")[0]}`);
  });
const page = await browser.newPage();
const faults = [];
page.on("pageerror", (error) => faults.push(error.message));
await page.goto(`http://127.0.0.1:${server.address().port}/`);
await page.waitForFunction(() => /Choose a model|is loaded/.test(document.getElementById("status").textContent));

async function until(pattern) {
  await page.waitForFunction(
    (source) => {
      const status = document.getElementById("status");
      return status.className === "error" || new RegExp(source).test(status.textContent);
    },
    pattern,
    { timeout: 120_000 },
  );
  const [text, failed] = await page.$eval("#status", (status) => [status.textContent, status.className === "error"]);
  if (failed || faults.length) fail(`the page says: ${failed ? text : faults[0]}`);
  return text;
}

await page.evaluate(drop, [{ name: basename(model), base64: contents[0] }]);
await until("is loaded");
await page.evaluate(drop, [{ name: basename(picture), base64: contents[1] }]);
const said = await until(" in [0-9.]+ s\\.$");
const result = await page.evaluate(compare, contents[2]);
await browser.close();
server.close();
if (result.sizes) fail(`the picture is ${result.sizes}`);
console.log(
  `${basename(model)}: ${said} Values ${result.range.join(" to ")}; largest difference ${result.largest} of 255,`
    + ` ${(100 * result.share).toFixed(2)} % of the values differ`,
);
if (!(result.largest <= Number(allowed))) {
  fail(`the largest difference is ${result.largest} of 255, more than ${allowed}`);
}
