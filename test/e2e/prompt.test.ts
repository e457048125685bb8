// Spans leave soon after their end (within 2 s where the agent gets its turn; the test prints it), also when the connection stays open and idle afterwards and the end of the message
// lies far behind what was captured: large bodies, chunked ones whose last chunk nobody copied.
import assert from 'node:assert/strict';
import http from 'node:http';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, startAgent } from '../support/agent.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import * as servers from '../support/servers.js';
import { CLIENT, pathOfSpan, SERVER } from '../support/spans.js';

/** On a machine whose other users leave the agent few turns. */
const LATEST_MS = 8000;
const SIDES = [
  ['SERVER', SERVER],
  ['CLIENT', CLIENT],
] as const;

let receiver: OtlpReceiver;
let agent: Agent;

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  agent = await startAgent({ endpoint: receiver.grpcUrl });
});

after(async () => {
  await agent?.stop();
  await receiver?.close();
});

const starts: readonly (readonly [string, () => Promise<servers.Server>])[] = [
  ['nginx', () => servers.startNginx()],
  ['apache', () => servers.startApache()],
  ['node', () => servers.startNodeServer()],
  ['go', () => servers.startGo()],
  ['gunicorn', () => servers.startGunicorn({ workers: 1, threads: 8 })],
  ['puma', () => servers.startPuma({ threads: 8 })],
];

/** One request on a connection of its own that stays open afterwards. */
function request(
  agentOfOne: http.Agent,
  port: number,
  method: string,
  path: string,
  body: Buffer | null,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request({ host: '127.0.0.1', port, method, path, agent: agentOfOne }, response => {
      response.on('end', resolve).on('error', reject).resume();
    });
    outgoing.on('error', reject);
    if (body !== null) {
      outgoing.write(body.subarray(0, body.length / 2));
      outgoing.end(body.subarray(body.length / 2));
    } else outgoing.end();
  });
}

for (const [name, start] of starts) {
  test(`${name}: spans leave while their connections stay open`, async t => {
    const server = await start();
    const pools: http.Agent[] = [];
    try {
      const mark = `${name}-${server.port}`;
      const requests: readonly (readonly [string, string, Buffer | null])[] = [
        ['GET', `/bytes/200/small-${mark}`, null],
        ['GET', `/bytes/1048576/large-${mark}`, null],
        ['HEAD', `/bytes/200000/head-${mark}`, null],
        ['GET', `/chunked/200000/chunked-${mark}`, null],
        ['GET', `/chunked/2000/short-chunked-${mark}`, null],
        ['POST', `/upload/chunked-${mark}`, Buffer.alloc(100_000, 'u')],
        ['GET', `/status/204/none-${mark}`, null],
      ];
      for (const [method, path, body] of requests) {
        const pool = new http.Agent({ keepAlive: true, maxSockets: 1 });
        pools.push(pool);
        await request(pool, server.port, method, path, body);
      }
      const endedMs = Date.now();
      const findLate = () =>
        requests.flatMap(([method, path]) =>
          SIDES.filter(
            ([, kind]) => !receiver.spans().some(span => span.kind === kind && pathOfSpan(span) === path),
          ).map(([side]) => `${side} ${method} ${path}`),
        );
      let late = findLate();
      while (late.length > 0 && Date.now() < endedMs + LATEST_MS) {
        await sleep(50);
        late = findLate();
      }
      t.diagnostic(`the last span came ${Date.now() - endedMs} ms after the last response`);
      assert.deepEqual(late, []);
    } finally {
      for (const pool of pools) pool.destroy();
      await server.stop();
    }
  });
}
