// One validation job in the list: its progress, its errors, its report, and the button that ends it.
import { call, root } from "./api.js";
import { at } from "./dom.js";
import { key } from "./lock.js";
import { count, duration, percent } from "./words.js";

const FINISHED = ["done", "failed", "cancelled"];
const STOPPING = 1000; // ms until the removal of a job that is stopping is tried again

export const isFinished = (job) => FINISHED.includes(job.status);

// The state of a job in one line.
export function describe(job) {
  if (job.status === "running") return `Running${progress(job)}`;
  if (job.status === "done") return `Done: ${count(job.summary.n)} images${broken(job.summary)}${rate(job)}${leftOut(job.summary)}`;
  if (job.status === "failed") return `Failed: ${job.error}`;
  return job.status === "queued" ? "Waiting for its turn" : `Cancelled after ${count(job.images)} images`;
}

export class Row {
  constructor(url, changed) {
    this.url = url;
    this.item = at("job").content.cloneNode(true).firstElementChild;
    this.part("button").addEventListener("click", () => this.end().then(changed, changed));
    this.part("a").addEventListener("click", (event) => key() && this.save(event).catch(changed));
  }

  part(selector) {
    return this.item.querySelector(selector);
  }

  show(job) {
    const share = job.holdout === 1 ? "" : `, held-out share ${job.holdout}`;
    const of = `${job.dataset} by ${job.model}${share}${job.limit ? `, at most ${count(job.limit)} images` : ""}`;
    this.finished = isFinished(job);
    this.part("h3").textContent = of;
    this.part(".status").textContent = describe(job);
    this.item.dataset.status = job.status;
    this.part("progress").hidden = job.status !== "running";
    this.part("progress").value = job.total ? job.images / job.total : 0;
    this.part("progress").setAttribute("aria-label", `Progress of ${of}`);
    const action = this.finished ? "Remove" : "Cancel";
    this.part("button").textContent = action;
    this.part("button").setAttribute("aria-label", `${action} ${of}`);
    if (job.summary) this.showErrors(job.summary);
    this.part("a").hidden = !job.summary;
    this.part("a").textContent = key() ? "Save its report" : "Report";
    Object.assign(this.part("a"), { href: `${root}${this.url}/report`, ariaLabel: `${this.part("a").textContent} of ${of}` });
  }

  showErrors({ center, ten_crop: tenCrop }) {
    const errors = [center.top1_error, center.top5_error, tenCrop.top1_error, tenCrop.top5_error];
    this.item.querySelectorAll("tbody td").forEach((cell, i) => { cell.textContent = percent(errors[i], 2); });
    this.part("table").hidden = false;
  }

  // Cancels the job, or removes a finished one as soon as it has stopped. A job that finished meanwhile is left as it is.
  async end() {
    try {
      await call(this.finished ? this.url : `${this.url}?cancel=true`, { method: "DELETE" });
    } catch (failure) {
      if (failure.code === "finished") return;
      if (failure.code !== "stopping") throw failure;
      await new Promise((resolve) => { setTimeout(resolve, STOPPING); });
      await this.end();
    }
  }

  // Saves the report: a link cannot send the key, and this page's policy would take the styles of a blob that it opens.
  async save(event) {
    event.preventDefault();
    const url = URL.createObjectURL(await (await call(`${this.url}/report`)).blob());
    Object.assign(document.createElement("a"), { href: url, download: "report.html" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}

function progress({ images, total, images_per_s: speed }) {
  if (!total) return ": listing its images";
  const left = speed ? `, ${duration((total - images) / speed)} left` : "";
  return `: ${count(images)} of ${count(total)} images${rate({ images_per_s: speed })}${left}`;
}

const rate = ({ images_per_s: speed }) => (speed ? `, ${speed.toFixed(1)} images/s` : "");

const broken = ({ undecodable, no_answer: unanswered }) =>
  (undecodable ? `, ${count(undecodable)} of them undecodable` : "") +
  (unanswered ? `, ${count(unanswered)} of them without an answer` : "");

// What the data set's account tells besides; an older summary has none, and the report names each.
function leftOut({ account }) {
  const number = account ? account.passed_over + account.without_label + account.without_pair : 0;
  return number ? `; ${count(number)} left out` : "";
}
