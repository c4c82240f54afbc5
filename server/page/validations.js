// The validation jobs: their list, which follows the server live, and the form that starts a job.
import { call, events } from "./api.js";
import { at } from "./dom.js";
import { describe, isFinished, Row } from "./job.js";

const JOBS = "/v1/validations";
const RETRY = 3000; // ms until the list is requested again after the contact was lost
const PASSING = [0, 503]; // statuses that mean a lost contact; 0: no reply
const rows = new Map(); // a job's id -> { row, status }
let following = false;

// Lists the jobs, and follows the oldest unfinished job: no other can be running.
export async function refresh() {
  try {
    const jobs = await loadAll();
    at("on").hidden = false;
    at("job-error").textContent = "";
    list(jobs);
    follow(jobs.findLast((job) => !isFinished(job)));
  } catch (failure) {
    showLost(failure);
  }
}

export async function start() {
  const [limit, holdout] = ["limit", "holdout"].map((id) => at(id).valueAsNumber);
  const asked = { dataset: at("dataset").value, model: at("validated").value, limit: limit || null, holdout: holdout || 1 };
  try {
    await call(JOBS, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) });
  } catch (failure) {
    at("job-error").textContent = failure.message;
    return;
  }
  await refresh();
}

async function loadAll() {
  const jobs = [];
  for (let page = ""; page !== undefined;) {
    const reply = await call(JOBS + page);
    jobs.push(...(await reply.json()));
    page = /<(\?[^>]+)>; rel="next"/.exec(reply.headers.get("Link"))?.[1];
  }
  return jobs;
}

function showLost(failure) {
  at("on").hidden = false;
  at("job-error").textContent = failure.message;
  if (PASSING.includes(failure.status)) setTimeout(refresh, RETRY);
}

async function follow(job) {
  if (!job || following) return;
  following = true;
  let last = job;
  try {
    for await (last of events(`${JOBS}/${job.id}/events`)) show(last);
  } catch {
    // the same as where the server ends the stream: request the list again
  }
  setTimeout(refresh, isFinished(last) ? 0 : RETRY);
  following = false;
}

function list(jobs) {
  const kept = new Set(jobs.map((job) => job.id));
  for (const [id, { row }] of rows) {
    if (kept.has(id)) continue;
    if (row.item.contains(document.activeElement)) at("validations-heading").focus();
    row.item.remove();
    rows.delete(id);
  }
  for (const job of jobs.toReversed()) show(job);
}

function show(job) {
  const known = rows.get(job.id);
  const row = known?.row ?? new Row(`${JOBS}/${job.id}`, refreshAfter);
  if (!known) at("jobs").prepend(row.item);
  if (known && known.status !== job.status) at("job-news").textContent = `Validation of ${job.dataset}. ${describe(job)}`;
  rows.set(job.id, { row, status: job.status });
  row.show(job);
}

async function refreshAfter(failure) {
  await refresh();
  if (failure) at("job-error").textContent = failure.message;
}
