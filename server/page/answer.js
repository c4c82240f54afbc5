// The answer to one image: its five labels and ten views, or the failure in words.
import { call, Failure } from "./api.js";
import { at, element } from "./dom.js";
import { chosen, coverage } from "./models.js";
import { showSet } from "./sets.js";
import { SNIPPETS } from "./snippets.js";
import { showViews } from "./views.js";
import { count, megabytes, percent, tellApart } from "./words.js";

const PASSING = [0, 429, 503, 504]; // statuses after which the same image may be answered; 0: no reply

export class Answer {
  constructor(image) {
    this.image = image;
    this.name = image.name || "the image";
    this.item = at("answer").content.cloneNode(true).firstElementChild;
    this.part(".name").textContent = this.name;
    this.part(".again").addEventListener("click", () => {
      at("pick").focus(); // the button disappears
      this.ask(new AbortController().signal);
    });
    for (const button of this.item.querySelectorAll("[data-form]")) button.addEventListener("click", () => this.copy(button.dataset.form));
  }

  part(selector) {
    return this.item.querySelector(selector);
  }

  // Sends the image, and shows what comes back; an aborted request shows nothing that is seen.
  async ask(signal) {
    at("state").textContent = `Looking at ${this.name} …`;
    this.part(".failed").textContent = "";
    this.part(".again").hidden = true;
    this.asked = coverage();
    this.path = `/v1/predict?${new URLSearchParams({ views: true, ...(chosen() && { model: chosen() }), ...this.asked })}`;
    try {
      const [reply, bitmap] = await Promise.all([this.send(signal), createImageBitmap(this.image).catch(() => null)]);
      if (!signal.aborted) this.show(reply, bitmap);
      bitmap?.close();
    } catch (failure) {
      if (!signal.aborted) this.fail(failure);
    }
  }

  async send(signal) {
    await this.image.slice(0, 1).arrayBuffer().catch(() => { throw new Failure(`${this.name} cannot be read.`, { status: 400 }); });
    const form = new FormData();
    form.append("image", this.image);
    const reply = await call(this.path, { method: "POST", body: form, signal }).catch((failure) => this.explain(failure));
    return reply.json();
  }

  // A server that refuses a body may close the connection before the whole body has arrived. The browser then sees no reply.
  async explain(failure) {
    const size = megabytes(this.image.size);
    if (failure.status === 413) throw new Failure(`${this.name} (${size}) is too large: ${failure.message}`, failure);
    if (failure.status !== 0 || failure.name === "AbortError") throw failure;
    await call("/readyz");
    throw new Failure(`The server broke off; perhaps ${this.name} (${size}) is too large for it.`);
  }

  fail(failure) {
    this.part(".failed").textContent = failure.message;
    this.part(".again").hidden = !PASSING.includes(failure.status);
    this.part(".found").hidden = true;
    at("state").textContent = "";
  }

  show(reply, bitmap) {
    const { top: best, views: each, input, timing_ms: ms } = reply;
    const guesses = tellApart([...best, ...each]);
    const [top, views] = [guesses.slice(0, best.length), guesses.slice(best.length)];
    this.reply = reply;
    this.part(".found").hidden = false;
    this.part(".labels").replaceChildren(...top.map(row));
    showSet(this.part(".set"), reply.set, this.asked.coverage);
    showViews(this.item, views, top[0], reply.agreement, bitmap);
    const turned = input.exif_rotated ? ", turned as its EXIF says" : "";
    this.part(".unshown").textContent = bitmap ? "" : `This browser cannot show ${input.format} images; the server can read them.`;
    this.part(".facts").textContent = `${input.format}, ${count(input.width)} × ${count(input.height)} pixels${turned}.`
      + ` Decoded in ${ms.decode.toFixed(1)} ms, waited ${ms.queue.toFixed(1)} ms, ten views in ${ms.engine.toFixed(1)} ms.`;
    at("state").textContent = `${this.name}: ${top[0].label}, ${percent(top[0].probability)}.`;
  }

  // Copies the request as a program, or its answer. Without HTTPS a browser refuses: the text is selected in any case.
  async copy(form) {
    const { text, advice } = SNIPPETS[form](this);
    this.part(".copy").hidden = false;
    this.part(".copy").textContent = text;
    getSelection().selectAllChildren(this.part(".copy"));
    const copied = await Promise.resolve(navigator.clipboard?.writeText(text).then(() => true)).catch(() => false);
    this.part(".copied").textContent = `${copied ? "Copied." : "Selected: press Ctrl+C."} ${advice}`;
  }
}

function row({ label, probability, confidence }) {
  const line = element("li");
  const bar = element("span", "", { className: "bar" });
  bar.style.setProperty("--p", percent(probability));
  line.append(element("span", label), " ", element("span", percent(probability), { className: "share" }), bar);
  if (confidence !== undefined) line.append(" ", element("small", `confidence ${percent(confidence)}`, { className: "confidence" }));
  return line;
}
