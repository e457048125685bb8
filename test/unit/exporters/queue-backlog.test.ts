// A queue with a backlog on a real file system: an outage costs nothing, in memory or in order; what is on disk when the
// agent is killed is sent by the next one; a disk that refuses costs no more than having none.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Backlog, type BacklogOptions } from '../../../src/backlog/backlog.js';
import { DiskRoom } from '../../../src/backlog/disk-room.js';
import { EXPORTED, type Exporter, type ExportResult } from '../../../src/exporters/exporter.js';
import { createOtlpExporter } from '../../../src/exporters/otlp.js';
import { resolveOtlpTarget } from '../../../src/exporters/otlp-settings.js';
import { ExportQueue, type ExportQueueOptions } from '../../../src/exporters/queue.js';
import { startOtlpReceiver } from '../../support/otlp-receiver.js';
import { Lent } from './lent.js';
import { traceRequest } from './requests.js';

const AWAY: ExportResult = { kind: 'unavailable', message: 'away', retryAfterMs: null };

const root = mkdtempSync(join(tmpdir(), 'underspan-queue-'));
after(() => rmSync(root, { recursive: true }));
const newFolder = (): string => mkdtempSync(join(root, 'q-'));

/** Takes requests unless it is away; keeps the numbers that they begin with. */
class Destination implements Exporter {
  readonly name = 'destination';
  readonly canBeAway = true;
  readonly keepsBytes = false;
  readonly taken: number[] = [];
  state: 'here' | 'away' | 'silent' = 'here';
  delayMs = 0;
  attempts = 0;

  async export(bytes: Uint8Array): Promise<ExportResult> {
    this.attempts++;
    if (this.state === 'silent') await new Promise(() => {});
    if (this.delayMs > 0) await sleep(this.delayMs);
    if (this.state === 'away') return AWAY;
    this.taken.push(Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32LE(0));
    return EXPORTED;
  }

  async shutdown(): Promise<void> {}
}

interface Kept {
  readonly queue: ExportQueue;
  readonly backlog: Backlog;
  readonly lines: string[];
}

async function newQueue(
  exporter: Exporter,
  folder: string,
  options: Partial<ExportQueueOptions> = {},
  backlogOptions: Partial<BacklogOptions> = {},
): Promise<Kept> {
  const lines: string[] = [];
  const backlog = await Backlog.open({
    folder,
    room: new DiskRoom(folder, 0),
    maxBytes: 64 << 20,
    maxAgeMs: 3_600_000,
    warn: message => lines.push(message),
    now: () => Date.now(),
    ...backlogOptions,
  });
  const queue = new ExportQueue({
    exporter,
    log: (level, message) => lines.push(`${level} ${message}`),
    maxBytes: 100_000,
    maxItems: 1000,
    minPauseMs: 5,
    maxPauseMs: 20,
    catchUpBytesPerSecond: 1e9,
    ...options,
    backlog,
  });
  return { queue, backlog, lines };
}

function request(id: number, length = 1000): Uint8Array {
  const bytes = Buffer.alloc(length, id);
  bytes.writeUInt32LE(id, 0);
  return bytes;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

async function until(condition: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    assert.ok(performance.now() < endMs, `not within ${timeoutMs} ms: ${what}`);
    await sleep(2);
  }
}

function total({ queue, backlog }: Kept): number {
  const { full, refused, expired, shutdown } = queue.counts.dropped;
  const { dropped } = backlog;
  const lost = full + refused + expired + shutdown + dropped.full + dropped.expired + dropped.damaged;
  return queue.counts.sent + queue.counts.rejected + lost + queue.heldItems + backlog.itemCount;
}

test('while all is well nothing touches the disk', async () => {
  const folder = newFolder();
  const destination = new Destination();
  const { queue } = await newQueue(destination, folder);
  for (let i = 0; i < 50; i++) queue.offer(request(i), 1);
  assert.equal(await queue.flush(5000), true);
  assert.deepEqual(destination.taken, range(0, 50));
  assert.deepEqual(readdirSync(folder), ['position']);
  await queue.close(1000);
});

test('an outage: all of it goes to disk, memory stays free, and it arrives in order and once', async () => {
  const destination = new Destination();
  const kept = await newQueue(destination, newFolder());
  const { queue, backlog, lines } = kept;
  const lent = new Lent();
  destination.state = 'away';
  // Ten times of what fits into memory.
  for (let i = 0; i < 1000; i++) {
    lent.offer(queue, request(i), 1);
    if (i % 20 === 19) await until(() => queue.heldBytes < 50_000, 'memory to be free');
    assert.equal(total(kept), i + 1);
  }
  await until(() => queue.heldItems === 0, 'everything to be stored');
  assert.equal(backlog.itemCount, 1000);
  assert.equal(lent.count, 0);
  assert.ok(destination.attempts < 200, 'one request tries');
  destination.state = 'here';
  await until(() => backlog.itemCount === 0, 'delivery');
  assert.deepEqual(destination.taken, range(0, 1000));
  assert.equal(queue.counts.sent, 1000);
  assert.match(lines[0] ?? '', /^warn destination: unavailable, keeping everything on disk: away$/);
  assert.match(lines.at(-1) ?? '', /^info destination: available again after/);
  queue.offer(request(1000), 1);
  await queue.close(1000);
  assert.equal(destination.taken.at(-1), 1000);
});

test('what comes in while the backlog is sent goes behind it', async () => {
  const destination = new Destination();
  const { queue, backlog } = await newQueue(destination, newFolder());
  destination.state = 'away';
  for (let i = 0; i < 40; i++) queue.offer(request(i), 1);
  await until(() => backlog.itemCount === 40, 'everything to be stored');
  destination.state = 'here';
  for (let i = 40; i < 200; i++) {
    queue.offer(request(i), 1);
    await sleep(0);
    // A disk that is slow at the moment makes the line full, and the oldest go.
    await until(() => queue.heldBytes < 50_000, 'memory to be free');
  }
  assert.equal(queue.counts.dropped.full, 0);
  await until(() => destination.taken.length === 200, 'delivery');
  assert.deepEqual(destination.taken, range(0, 200));
  await queue.close(1000);
});

test('a destination that is slower than what comes in: the rest goes to disk, in order', async () => {
  const destination = new Destination();
  destination.delayMs = 3;
  const kept = await newQueue(destination, newFolder(), { concurrency: 1 });
  const { queue, backlog } = kept;
  let mostKept = 0;
  for (let i = 0; i < 600; i++) {
    queue.offer(request(i), 1);
    mostKept = Math.max(mostKept, backlog.itemCount);
    if (i % 10 === 9) await until(() => queue.heldBytes < 80_000, 'memory to be free');
  }
  await until(() => destination.taken.length + queue.counts.dropped.full >= 600 && backlog.itemCount === 0, 'delivery');
  assert.ok(mostKept > 0);
  assert.equal(queue.counts.dropped.full, 0);
  assert.deepEqual(destination.taken, range(0, 600));
  await queue.close(1000);
});

test('killed in an outage: the next agent delivers what was stored, also what was in flight', async () => {
  const folder = newFolder();
  const destination = new Destination();
  const first = await newQueue(destination, folder);
  destination.state = 'silent';
  first.queue.offer(request(0), 1);
  destination.state = 'away';
  for (let i = 1; i < 100; i++) first.queue.offer(request(i), 1);
  await until(() => first.backlog.itemCount === 100, 'everything to be stored, with what nobody answers');
  const image = newFolder();
  cpSync(folder, image, { recursive: true });
  const next = new Destination();
  const second = await newQueue(next, image);
  assert.equal(second.backlog.recovered, 100);
  await until(() => second.backlog.itemCount === 0, 'delivery');
  assert.deepEqual(next.taken, range(0, 100));
  await second.queue.close(1000);
  await first.queue.close(0);
});

test('killed while the backlog is sent: only what was in hand comes twice', async () => {
  const folder = newFolder();
  const destination = new Destination();
  const { queue, backlog } = await newQueue(destination, folder);
  destination.state = 'away';
  for (let i = 0; i < 100; i++) queue.offer(request(i), 1);
  await until(() => queue.heldItems === 0, 'everything to be stored');
  destination.state = 'here';
  await until(() => destination.taken.length > 30, 'some deliveries');
  const image = newFolder();
  cpSync(folder, image, { recursive: true });
  const taken = destination.taken.length;
  const next = new Destination();
  const second = await newQueue(next, image);
  await until(() => second.backlog.itemCount === 0, 'delivery');
  const all = new Set([...destination.taken.slice(0, taken), ...next.taken]);
  assert.equal(all.size, 100);
  assert.ok(next.taken.length + taken <= 100 + 4, `${next.taken.length + taken - 100} came twice`);
  await until(() => backlog.itemCount === 0, 'delivery');
  await Promise.all([queue.close(1000), second.queue.close(1000)]);
});

test('the end of the agent in an outage is quick, and loses nothing', async () => {
  const folder = newFolder();
  const destination = new Destination();
  destination.state = 'away';
  const first = await newQueue(destination, folder, { minPauseMs: 60_000, maxPauseMs: 60_000 });
  for (let i = 0; i < 50; i++) first.queue.offer(request(i), 2);
  const start = performance.now();
  await first.queue.close(5000);
  assert.ok(performance.now() - start < 2500);
  assert.equal(first.queue.counts.dropped.shutdown, 0);
  destination.state = 'here';
  const second = await newQueue(destination, folder);
  await until(() => second.backlog.itemCount === 0, 'delivery');
  assert.deepEqual(destination.taken, range(0, 50));
  assert.equal(second.queue.counts.sent, 100);
  await second.queue.close(1000);
});

test('a destination that says nothing at the end keeps the agent no longer than told, and loses nothing', async () => {
  const folder = newFolder();
  const destination = new Destination();
  destination.state = 'silent';
  const first = await newQueue(destination, folder);
  for (let i = 0; i < 10; i++) first.queue.offer(request(i), 1);
  await first.queue.close(3000);
  assert.equal(first.queue.counts.dropped.shutdown, 0);
  destination.state = 'here';
  const second = await newQueue(destination, folder);
  await until(() => second.backlog.itemCount === 0, 'delivery');
  assert.deepEqual(destination.taken, range(0, 10));
  await second.queue.close(1000);
});

test('a disk that takes nothing: the line in memory does what it can, and the sum balances', async () => {
  const folder = newFolder();
  const destination = new Destination();
  destination.state = 'away';
  const kept = await newQueue(destination, folder, {}, { room: new DiskRoom(folder, 2 ** 60) });
  const { queue } = kept;
  for (let i = 0; i < 300; i++) {
    queue.offer(request(i), 1);
    if (i % 10 === 0) await sleep(1);
    assert.equal(total(kept), i + 1);
    assert.ok(queue.heldBytes <= 100_000);
  }
  destination.state = 'here';
  await until(() => queue.heldItems === 0, 'delivery');
  assert.ok(destination.taken.length >= 90);
  assert.deepEqual(destination.taken.slice(-90), range(210, 300));
  assert.equal(queue.counts.dropped.full + destination.taken.length, 300);
  await queue.close(1000);
});

test('a backlog is not thrown at a destination that has just come back', async () => {
  const destination = new Destination();
  const { queue, backlog } = await newQueue(destination, newFolder(), { catchUpBytesPerSecond: 200_000 });
  destination.state = 'away';
  for (let i = 0; i < 100; i++) queue.offer(request(i), 1);
  await until(() => backlog.itemCount === 100, 'everything to be stored');
  destination.state = 'here';
  await until(() => destination.taken.length > 0, 'the first');
  const start = performance.now();
  await until(() => backlog.itemCount === 0, 'delivery');
  assert.ok(performance.now() - start > 400, '100 kB at 200 kB/s');
  assert.deepEqual(destination.taken, range(0, 100));
  await queue.close(1000);
});

test('whatever happens, the sum balances', async () => {
  const outcome = fc.constantFrom<ExportResult>(
    EXPORTED,
    EXPORTED,
    AWAY,
    AWAY,
    { kind: 'refused', code: '3', message: 'no' },
    { kind: 'partial', rejected: 2, message: '' },
  );
  const offers = fc.array(fc.tuple(fc.integer({ min: 4, max: 9000 }), fc.integer({ min: 1, max: 30 }), fc.boolean()), {
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(offers, fc.array(outcome, { minLength: 1, maxLength: 40 }), async (requests, outcomes) => {
      let attempt = 0;
      const exporter: Exporter = {
        name: 'scripted',
        canBeAway: true,
        keepsBytes: false,
        export: async bytes => {
          if (attempt % 3 === 0) await sleep(1);
          Lent.check(bytes);
          return outcomes[attempt++] ?? EXPORTED;
        },
        shutdown: async () => {},
      };
      const kept = await newQueue(
        exporter,
        newFolder(),
        { maxBytes: 30_000, maxItems: 200, minPauseMs: 0.1, maxPauseMs: 0.5 },
        { maxBytes: 1 << 20 },
      );
      const { queue, backlog } = kept;
      const lent = new Lent();
      let offered = 0;
      for (const [length, items, isYielding] of requests) {
        lent.offer(queue, request(0, length), items);
        offered += items;
        assert.equal(total(kept), offered);
        if (isYielding) await sleep(0);
        assert.equal(total(kept), offered);
      }
      await until(() => queue.heldItems === 0 && backlog.itemCount === 0, 'delivery');
      assert.equal(lent.count, 0);
      assert.equal(total(kept), offered);
      assert.equal(queue.heldBytes, 0);
      await queue.close(1000);
      assert.equal(total(kept), offered);
    }),
    { numRuns: 60 },
  );
});

test('one destination that is stuck does not delay another', async (context: TestContext) => {
  const stuck = await startOtlpReceiver({ grpc: true });
  const well = await startOtlpReceiver({ grpc: true });
  stuck.setFault({ kind: 'slow', delayMs: 60_000 });
  const queues = await Promise.all(
    [stuck, well].map(({ grpcUrl }) => {
      const target = resolveOtlpTarget('traces', { endpoint: grpcUrl, timeoutMs: 300 }, {});
      return newQueue(createOtlpExporter(target, { userAgent: 'u', log: () => {} }), newFolder(), { maxBytes: 1e6 });
    }),
  );
  context.after(async () => {
    await Promise.all(queues.map(({ queue }) => queue.close(500)));
    await Promise.all([stuck.close(), well.close()]);
  });
  for (let i = 0; i < 20; i++) {
    const { bytes, spanCount } = traceRequest(`r${i}`, 10);
    for (const { queue } of queues) queue.offer(bytes, spanCount);
    await sleep(5);
  }
  await well.waitForSpans(200, 5000);
  const [first] = queues as [Kept, Kept];
  await until(() => first.queue.isUnavailable && first.backlog.itemCount === 200, 'the other to be kept');
  assert.equal(first.queue.counts.sent, 0);
});
