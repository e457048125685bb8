// Recordings of real servers under real load (test/fixtures/batches/README.md), replayed as `underspan replay` does it: each request
// of the server's access log is one SERVER span and one CLIENT span, the one the other's child, and the books have them all.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { gunzipSync } from 'node:zlib';
import { loadConfig } from '../../../src/config/load.js';
import { Handover, type HandoverMemory } from '../../../src/handover.js';
import type { FromWorker } from '../../../src/messages.js';
import { decodeTraces } from '../../../src/otlp/decode.js';
import { ReplaySource } from '../../../src/replay-source.js';
import type { AccessEntry } from '../../support/access-log.js';
import { compareSpans } from '../../support/compare.js';
import { temporaryDirectory } from '../../support/processes.js';
import { CLIENT, type DecodedSpan, SERVER } from '../../support/spans.js';

const FOLDER = 'test/fixtures/batches';
const NAMES = readdirSync(FOLDER)
  .filter(name => name.endsWith('.bin.gz'))
  .map(name => name.slice(0, -'.bin.gz'.length));

interface Replayed {
  readonly spans: DecodedSpan[];
  /** Of all services: begun, and ended by outcome. */
  readonly begun: number;
  readonly ended: Readonly<Record<string, number>>;
  /** Spans that were written and not handed over. */
  readonly dropped: number;
  readonly logged: readonly string[];
}

async function replay(name: string, handover: HandoverMemory | null = null): Promise<Replayed> {
  const directory = temporaryDirectory('batches');
  const file = path.join(directory, name);
  writeFileSync(file, gunzipSync(readFileSync(path.join(FOLDER, `${name}.bin.gz`))));
  const spans: DecodedSpan[] = [];
  const ended: Record<string, number> = {};
  const logged: string[] = [];
  let begun = 0;
  let dropped = 0;
  const post = (message: FromWorker): void => {
    if (message.type === 'traces') spans.push(...decodeTraces(message.bytes));
    if (message.type === 'log') logged.push(message.text);
    if (message.type !== 'stopped') return;
    for (const { name: family, points } of message.families) {
      for (const { attributes, value } of points) {
        if (family === 'underspan.exchanges.begun') begun += value as number;
        if (family === 'underspan.spans.dropped') dropped += value as number;
        if (family !== 'underspan.exchanges.ended') continue;
        const outcome = String(attributes.find(([key]) => key === 'outcome')?.[1]);
        ended[outcome] = (ended[outcome] ?? 0) + (value as number);
      }
    }
  };
  const source = new ReplaySource(
    {
      // Where nobody takes spans, a replay would wait.
      mode: handover === null ? 'replay' : 'live',
      config: loadConfig({ environment: {} }).config,
      file,
      version: 'test',
      agentPid: 0,
      handover,
      ownPeers: [],
      wantsSpans: true,
      wantsConnections: false,
    },
    post,
  );
  await source.run();
  rmSync(directory, { recursive: true });
  return { spans, begun, ended, dropped, logged };
}

function logOf(name: string): AccessEntry[] {
  const entries = JSON.parse(readFileSync(path.join(FOLDER, `${name}.json`), 'utf8')) as AccessEntry[];
  return entries.map(entry => ({
    ...entry,
    startMs: entry.startMs ?? Number.NaN,
    durationMs: entry.durationMs ?? Number.NaN,
  }));
}

test('there are recordings', () => {
  assert.ok(NAMES.length >= 2, NAMES.join(' '));
});

for (const name of NAMES) {
  test(`${name}: every request of its log is told by both sides`, async () => {
    const log = logOf(name);
    const { spans, begun, ended } = await replay(name);
    const requests = spans.filter(({ kind }) => kind === SERVER || kind === CLIENT);
    for (const kind of [SERVER, CLIENT]) {
      const own = requests.filter(span => span.kind === kind);
      const { missing, extra, wrong } = compareSpans(log, own);
      assert.deepEqual({ missing, extra, wrong }, { missing: [], extra: [], wrong: [] }, `kind ${kind}`);
    }
    const clients = new Map(requests.filter(({ kind }) => kind === CLIENT).map(span => [span.spanId, span]));
    for (const span of requests.filter(({ kind }) => kind === SERVER)) {
      const parent = clients.get(span.parentSpanId);
      assert.equal(parent?.traceId, span.traceId);
      assert.ok((parent?.startUnixNs ?? 0n) <= span.startUnixNs);
    }
    assert.deepEqual([begun, ended], [2 * log.length, { exported: 2 * log.length }]);
  });
}

test('spans that the main thread does not take in time are dropped, counted and told', async () => {
  const name = NAMES[0] as string;
  const main = new Handover();
  assert.ok(main.offer(1 << 30, 1));
  const { spans, ended, dropped, logged } = await replay(name, main.memory);
  const all = await replay(name);
  assert.equal(spans.length, 0);
  assert.deepEqual(ended, all.ended);
  assert.equal(dropped, all.spans.length);
  assert.match(logged.join('\n'), /handover_full/);
});
