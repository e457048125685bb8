// The queue with an exporter that does what the test says: bounds, order, repeating, shutdown, and the sum that always
// balances. The last case runs against a real receiver that goes away and comes back.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { EXPORTED, type Exporter, type ExportResult } from '../../../src/exporters/exporter.js';
import { createOtlpExporter } from '../../../src/exporters/otlp.js';
import { resolveOtlpTarget } from '../../../src/exporters/otlp-settings.js';
import { ExportQueue, type ExportQueueOptions } from '../../../src/exporters/queue.js';
import { startOtlpReceiver } from '../../support/otlp-receiver.js';
import { Lent } from './lent.js';
import { traceRequest } from './requests.js';

const UNAVAILABLE: ExportResult = { kind: 'unavailable', message: 'away', retryAfterMs: null };
const REFUSED: ExportResult = { kind: 'refused', code: '3', message: 'no' };

/** Answers by a function; keeps the first byte of every request that it was asked to send. */
class ScriptedExporter implements Exporter {
  readonly name = 'scripted';
  readonly canBeAway = true;
  readonly keepsBytes = false;
  readonly asked: number[] = [];
  flying = 0;
  maxFlying = 0;
  isShutDown = false;
  readonly #answer: (attempt: number, first: number) => ExportResult | Promise<ExportResult>;

  constructor(answer: (attempt: number, first: number) => ExportResult | Promise<ExportResult>) {
    this.#answer = answer;
  }

  async export(bytes: Uint8Array): Promise<ExportResult> {
    this.asked.push(bytes[0] as number);
    this.flying++;
    this.maxFlying = Math.max(this.maxFlying, this.flying);
    try {
      return await this.#answer(this.asked.length, bytes[0] as number);
    } finally {
      Lent.check(bytes);
      this.flying--;
    }
  }

  async shutdown(): Promise<void> {
    this.isShutDown = true;
  }
}

function newQueue(
  exporter: Exporter,
  options: Partial<ExportQueueOptions> = {},
): { queue: ExportQueue; lines: string[] } {
  const lines: string[] = [];
  const queue = new ExportQueue({
    exporter,
    log: (level, message) => lines.push(`${level} ${message}`),
    maxBytes: 1000,
    maxItems: 1000,
    minPauseMs: 5,
    maxPauseMs: 20,
    ...options,
  });
  return { queue, lines };
}

const request = (first: number, length = 10): Uint8Array => new Uint8Array(length).fill(first);

function total({ counts, heldItems }: ExportQueue): number {
  const { full, refused, expired, shutdown } = counts.dropped;
  return counts.sent + counts.rejected + full + refused + expired + shutdown + heldItems;
}

test('sends in order, and counts', async () => {
  const exporter = new ScriptedExporter(() => EXPORTED);
  const { queue } = newQueue(exporter);
  for (let i = 0; i < 20; i++) queue.offer(request(i), 3);
  assert.equal(await queue.flush(1000), true);
  assert.deepEqual(
    exporter.asked,
    Array.from({ length: 20 }, (_, i) => i),
  );
  assert.equal(queue.counts.sent, 60);
  assert.equal(queue.heldBytes, 0);
  assert.equal(total(queue), queue.counts.offered);
});

test('never more in flight than allowed', async () => {
  for (const concurrency of [1, 2, 3]) {
    const exporter = new ScriptedExporter(async () => {
      await sleep(2);
      return EXPORTED;
    });
    const { queue } = newQueue(exporter, { concurrency });
    for (let i = 0; i < 10; i++) queue.offer(request(i), 1);
    await queue.flush(1000);
    assert.equal(exporter.maxFlying, concurrency);
  }
});

test('full by bytes: the oldest that waits makes room, what flies stays', async () => {
  let open = (): void => {};
  const gate = new Promise<void>(resolve => {
    open = resolve;
  });
  const exporter = new ScriptedExporter(async () => {
    await gate;
    return EXPORTED;
  });
  const { queue } = newQueue(exporter, { maxBytes: 40, concurrency: 1 });
  for (let i = 0; i < 8; i++) {
    queue.offer(request(i), 1);
    assert.ok(queue.heldBytes <= 40);
  }
  assert.equal(queue.counts.dropped.full, 4);
  open();
  await queue.flush(1000);
  assert.deepEqual(exporter.asked, [0, 5, 6, 7]);
});

test('full by items; a request larger than all room is dropped itself', async () => {
  const exporter = new ScriptedExporter(() => UNAVAILABLE);
  const { queue } = newQueue(exporter, { maxItems: 10, maxBytes: 100, minPauseMs: 10_000 });
  queue.offer(request(1), 6);
  await sleep(5);
  queue.offer(request(2), 6);
  assert.equal(queue.heldItems, 6);
  assert.equal(queue.counts.dropped.full, 6);
  queue.offer(request(3, 200), 1);
  assert.equal(queue.counts.dropped.full, 13);
  assert.equal(total(queue), queue.counts.offered);
  await queue.close(0);
});

test('what is refused is dropped once, what is rejected in part is counted apart', async () => {
  const exporter = new ScriptedExporter((_, first) =>
    first === 0 ? REFUSED : first === 1 ? { kind: 'partial', rejected: 4, message: 'old' } : EXPORTED,
  );
  const { queue, lines } = newQueue(exporter);
  for (let i = 0; i < 3; i++) queue.offer(request(i), 10);
  await queue.flush(1000);
  assert.deepEqual(queue.counts, {
    offered: 30,
    sent: 16,
    rejected: 4,
    failures: 0,
    dropped: { full: 0, refused: 10, expired: 0, shutdown: 0 },
  });
  assert.deepEqual(lines, ['warn scripted: refused 10 items: no', 'warn scripted: rejected 4 of 10 items: old']);
});

test('unavailable: one request tries until it is taken, nothing is lost, order is kept', async () => {
  const exporter = new ScriptedExporter(attempt => (attempt <= 5 ? UNAVAILABLE : EXPORTED));
  const { queue, lines } = newQueue(exporter);
  for (let i = 0; i < 4; i++) queue.offer(request(i), 1);
  assert.equal(await queue.flush(5000), true);
  assert.equal(queue.counts.sent, 4);
  assert.deepEqual(exporter.asked, [0, 1, 0, 0, 0, 0, 1, 2, 3]);
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? '', /^warn scripted: unavailable, keeping up to 1000 items: away$/);
  assert.match(lines[1] ?? '', /^info scripted: available again after \d+\.\d s$/);
});

test('the receiver names the pause', async () => {
  const times: number[] = [];
  const exporter = new ScriptedExporter(attempt => {
    times.push(performance.now());
    return attempt === 1 ? { kind: 'unavailable', message: 'away', retryAfterMs: 120 } : EXPORTED;
  });
  const { queue } = newQueue(exporter);
  queue.offer(request(0), 1);
  await sleep(400);
  assert.equal(queue.counts.sent, 1);
  assert.ok(times[1]! - times[0]! >= 115);
});

test('a request that nobody takes for too long expires', async () => {
  const exporter = new ScriptedExporter(() => UNAVAILABLE);
  const { queue } = newQueue(exporter, { maxAgeMs: 30 });
  queue.offer(request(0), 5);
  await sleep(300);
  assert.equal(queue.counts.dropped.expired, 5);
  assert.equal(queue.heldItems, 0);
});

test('an exporter that throws in spite of its contract costs its request only', async () => {
  const exporter = new ScriptedExporter(attempt => {
    if (attempt === 1) throw new Error('bug');
    return EXPORTED;
  });
  const { queue } = newQueue(exporter);
  queue.offer(request(0), 1);
  queue.offer(request(1), 1);
  await queue.flush(1000);
  assert.equal(queue.counts.dropped.refused, 1);
  assert.equal(queue.counts.sent, 1);
});

test('close delivers what it can, counts the rest, and ends in time', async () => {
  const exporter = new ScriptedExporter(async (_, first) => {
    if (first < 2) return EXPORTED;
    await sleep(5000, undefined, { ref: false });
    return EXPORTED;
  });
  const { queue } = newQueue(exporter);
  for (let i = 0; i < 6; i++) queue.offer(request(i), 1);
  const start = performance.now();
  await queue.close(200);
  assert.ok(performance.now() - start < 4500);
  assert.ok(exporter.isShutDown);
  assert.equal(queue.counts.sent, 2);
  assert.equal(queue.counts.dropped.shutdown, 4);
  queue.offer(request(9), 1);
  assert.equal(queue.counts.dropped.shutdown, 5);
  assert.equal(total(queue), queue.counts.offered);
  assert.equal(queue.heldItems, 0);
});

test('flush does not wait out a long pause', async () => {
  const exporter = new ScriptedExporter(attempt => (attempt === 1 ? UNAVAILABLE : EXPORTED));
  const { queue } = newQueue(exporter, { minPauseMs: 60_000, maxPauseMs: 60_000 });
  queue.offer(request(0), 1);
  await sleep(10);
  assert.ok(queue.isUnavailable);
  assert.equal(await queue.flush(3000), true);
});

test('whatever happens, the sum balances and the bounds hold', async () => {
  const outcome = fc.constantFrom<ExportResult>(
    EXPORTED,
    REFUSED,
    UNAVAILABLE,
    { kind: 'partial', rejected: 2, message: '' },
    { kind: 'partial', rejected: 1000, message: 'more than were sent' },
  );
  const offers = fc.array(fc.tuple(fc.integer({ min: 1, max: 120 }), fc.integer({ min: 1, max: 30 }), fc.boolean()), {
    maxLength: 40,
  });
  await fc.assert(
    fc.asyncProperty(offers, fc.array(outcome, { minLength: 1, maxLength: 30 }), async (requests, outcomes) => {
      const exporter = new ScriptedExporter(async attempt => {
        if (attempt % 3 === 0) await Promise.resolve();
        return outcomes[attempt] ?? EXPORTED;
      });
      const { queue } = newQueue(exporter, { maxBytes: 300, maxItems: 60, minPauseMs: 0.1, maxPauseMs: 0.5 });
      const lent = new Lent();
      for (const [bytes, items, isYielding] of requests) {
        lent.offer(queue, request(0, bytes), items);
        assert.ok(queue.heldBytes <= 300 && queue.heldItems <= 60);
        assert.equal(total(queue), queue.counts.offered);
        if (isYielding) await new Promise(setImmediate);
      }
      assert.equal(await queue.flush(5000), true);
      assert.equal(total(queue), queue.counts.offered);
      assert.equal(queue.heldItems, 0);
      assert.equal(queue.heldBytes, 0);
      assert.equal(lent.count, 0);
    }),
    { numRuns: 60 },
  );
});

for (const protocol of ['grpc', 'http/protobuf'] as const) {
  test(`${protocol}: a receiver that restarts costs nothing`, async context => {
    const isGrpc = protocol === 'grpc';
    const first = await startOtlpReceiver({ grpc: isGrpc, http: !isGrpc });
    const endpoint = isGrpc ? first.grpcUrl : first.httpUrl;
    const ports = isGrpc ? { grpcPort: first.grpcPort } : { httpPort: first.httpPort };
    const target = resolveOtlpTarget('traces', { protocol, endpoint, timeoutMs: 1000 }, {});
    const exporter = createOtlpExporter(target, { userAgent: 'underspan/0.1.0', log: () => {} });
    const { queue } = newQueue(exporter, { maxBytes: 1e6, minPauseMs: 50, maxPauseMs: 200 });
    context.after(() => queue.close(1000));
    queue.offer(traceRequest('before', 10).bytes, 10);
    assert.equal(await queue.flush(5000), true);
    assert.equal(first.spans().length, 10);
    await first.close();
    queue.offer(traceRequest('during', 10).bytes, 10);
    await sleep(700);
    queue.offer(traceRequest('after', 10).bytes, 10);
    const second = await startOtlpReceiver({ grpc: isGrpc, http: !isGrpc, ...ports });
    context.after(() => second.close());
    assert.equal(await queue.flush(10_000), true);
    assert.equal(queue.counts.sent, 30);
    assert.equal(new Set(second.spans().map(span => span.name)).size, 20);
    assert.equal(second.spans().length, 20);
  });
}
