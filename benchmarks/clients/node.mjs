// Node: the package ws with JSON.parse, and OpenClaw's own client (@openclaw/gateway-client).
// The same phases as common.py. Runs in the directory of the packages: node node.mjs JOB
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const job = JSON.parse(process.argv[2]);
const url = `ws://127.0.0.1:${job.port}`;
const resolve = createRequire(process.cwd() + "/").resolve;

const CONNECT = {
  minProtocol: 3, maxProtocol: 4,
  client: { id: "cli", mode: "cli", version: "0", platform: "linux" },
  role: "operator", scopes: ["operator.read"], auth: { token: "bench" },
};

class Meter {
  start() { this.cpu = process.cpuUsage(); this.wall = process.hrtime.bigint(); }
  stop(count) {
    const { user, system } = process.cpuUsage(this.cpu);
    const wall = Number(process.hrtime.bigint() - this.wall) / 1e9;
    return { cpu_us: (user + system) / count, rate: count / wall };
  }
}

function percentiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return { p50_us: at(0.5), p99_us: at(0.99) };
}

function end(result) { console.log(JSON.stringify(result)); process.exit(0); }

// -- two clients: each gives onEvent(name, seq, payload) its events, and request(method, params)
async function openWs(onEvent) {
  const { default: WebSocket } = await import(pathToFileURL(resolve("ws")).href);
  const ws = new WebSocket(url, { perMessageDeflate: false });
  const waiting = new Map();
  let ids = 0;
  const request = (method, params) => new Promise((done) => {
    const id = String(++ids);
    waiting.set(id, done);
    ws.send(JSON.stringify({ type: "req", id, method, params }));
  });
  return new Promise((ready) => {
    ws.on("message", (data) => {
      const frame = JSON.parse(data);
      if (frame.type === "res") {
        const done = waiting.get(frame.id);
        waiting.delete(frame.id);
        done(frame.payload);
      } else if (frame.event === "connect.challenge") {
        request("connect", CONNECT).then(() => ready(request));
      } else {
        onEvent(frame.event, frame.seq, frame.payload);
      }
    });
  });
}

async function openOfficial(onEvent) {
  // the package has no entry for require: by its path, from the directory we run in
  const path = process.cwd() + "/node_modules/@openclaw/gateway-client/dist/index.mjs";
  const { GatewayClient } = await import(pathToFileURL(path).href);
  return new Promise((ready, failed) => {
    const client = new GatewayClient({
      url, token: "bench", scopes: ["operator.read"],
      onConnectError: failed,
      onEvent: (event) => onEvent(event.event, event.seq, event.payload),
      onHelloOk: () => ready((method, params) => client.request(method, params)),
    });
    client.start();
  });
}

const open = job.official ? openOfficial : openWs;

async function events() {
  let left = 0, over, sum = 0;
  const latencies = [];
  const callbacks = {
    flood: (name, seq, payload) => { sum += payload.runId ? 1 : 0; if (!--left) over(); },
    untouched: () => { if (!--left) over(); },
    paced: (name, seq, payload) => {
      latencies.push(Number(process.hrtime.bigint()) / 1000 - payload.atUs);
      if (!--left) over();
    },
  };
  const request = await open(callbacks[job.kind]);
  const meter = new Meter();
  for (const count of [job.warm, job.count]) {
    left = count;
    latencies.length = 0;
    const done = new Promise((resolve) => { over = resolve; });
    meter.start();
    request(job.kind === "paced" ? "bench.sendpaced" : "bench.send", { count, rate: job.rate ?? 0 });
    await done;
  }
  return { ...meter.stop(job.count), ...(latencies.length ? percentiles(latencies) : {}) };
}

async function sequential() {
  const request = await open(() => {});
  const params = { sessionKey: "agent:main:main", limit: 5, flag: true };
  if (job.bytes) params.text = job.text.repeat(job.bytes / job.text.length + 1).slice(0, job.bytes);
  for (let i = 0; i < Math.min(job.bytes ? 20 : 3000, job.count); i++) await request("bench.echo", params);
  const took = [];
  const meter = new Meter();
  meter.start();
  for (let i = 0; i < job.count; i++) {
    const began = process.hrtime.bigint();
    await request("bench.echo", params);
    took.push(Number(process.hrtime.bigint() - began) / 1000);
  }
  return { ...meter.stop(job.count), ...percentiles(took) };
}

async function many() {
  const request = await open(() => {});
  const params = { sessionKey: "agent:main:main", limit: 5, flag: true };
  const batch = () => Promise.all(Array.from({ length: job.window }, () => request("bench.echo", params)));
  const rounds = Math.floor(job.count / job.window);
  for (let i = 0; i < rounds / 10 + 1; i++) await batch();
  const meter = new Meter();
  meter.start();
  for (let i = 0; i < rounds; i++) await batch();
  return meter.stop(rounds * job.window);
}

const kinds = { flood: events, untouched: events, paced: events, sequential, threads: many, many };
end(await kinds[job.kind]());
