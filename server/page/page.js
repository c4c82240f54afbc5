// The page: sends one image to /v1/predict and shows the five labels and what each of the ten views alone would say.
const at = (id) => document.getElementById(id);
const SIDE = 256;

const percent = (p) => `${(100 * p).toFixed(1)} %`;

function element(tag, text, attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.textContent = text;
  return made;
}

function showLabels(top) {
  at("labels").replaceChildren(...top.map((guess) => {
    const row = document.createElement("li");
    row.append(
      element("span", guess.label),
      element("span", percent(guess.probability), { className: "share" }),
      element("meter", "", { min: 0, max: 1, value: guess.probability, ariaLabel: `${guess.label}: ${percent(guess.probability)}` }),
    );
    return row;
  }));
}

function drawSquare(bitmap, box) {
  const paint = at("picture").getContext("2d");
  const scale = SIDE / Math.min(bitmap.width, bitmap.height);
  const width = bitmap.width * scale, height = bitmap.height * scale;
  paint.clearRect(0, 0, SIDE, SIDE);
  paint.drawImage(bitmap, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  if (box) {
    paint.lineWidth = 3;
    paint.strokeStyle = "#ffd23f";
    paint.strokeRect(box.left + 1.5, box.top + 1.5, box.size - 3, box.size - 3);
  }
}

function showViews(views, bitmap) {
  at("views").replaceChildren(...views.map((view) => {
    const text = `${view.mirrored ? "⇋ " : ""}${view.label} ${percent(view.probability)}`;
    const button = element("button", text, { type: "button", title: `rows ${view.top}, columns ${view.left}${view.mirrored ? ", mirrored" : ""}` });
    for (const event of ["mouseenter", "focus"]) button.addEventListener(event, () => drawSquare(bitmap, view));
    for (const event of ["mouseleave", "blur"]) button.addEventListener(event, () => drawSquare(bitmap));
    const row = document.createElement("li");
    row.append(button);
    return row;
  }));
}

function fail(message) {
  at("error").textContent = message;
  at("error").hidden = false;
  at("answer").hidden = true;
}

let asked = 0; // only the newest image's answer is shown

async function predict(file) {
  const turn = ++asked;
  at("error").hidden = true;
  const form = new FormData();
  form.append("image", file);
  let reply, answer;
  try {
    reply = await fetch("/v1/predict?views=true", { method: "POST", body: form });
    answer = await reply.json();
  } catch {
    return fail("The server does not answer.");
  }
  if (turn !== asked) return;
  if (!reply.ok) return fail(answer.error.message);
  const bitmap = await createImageBitmap(file).catch(() => createImageBitmap(new ImageData(SIDE, SIDE))); // a TIFF, say
  const { input, timing_ms: ms } = answer;
  showLabels(answer.top);
  showViews(answer.views, bitmap);
  drawSquare(bitmap);
  at("seen").textContent = `${input.format}, ${input.width} × ${input.height}; decoded in ${ms.decode} ms, ten views in ${ms.engine} ms`;
  at("answer").hidden = false;
}

at("file").addEventListener("change", (event) => {
  if (event.target.files[0]) predict(event.target.files[0]);
  event.target.value = ""; // so that the same file can be picked again
});
document.addEventListener("paste", (event) => event.clipboardData.files[0] && predict(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files[0]) predict(event.dataTransfer.files[0]);
});

fetch("/readyz").then((reply) => reply.json()).then(({ models: [m] }) => {
  at("model").textContent = `${m.name}: ${m.engine} on ${m.device}, ${m.precision}`;
}).catch(() => { at("model").textContent = "the server is not ready"; });
