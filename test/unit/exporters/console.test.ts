import assert from 'node:assert/strict';
import test from 'node:test';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { WallClock } from '../../../src/clock.js';
import type { Service } from '../../../src/enrichment/service.js';
import { ConsoleJsonExporter, type ConsoleOptions, ConsoleTraceExporter } from '../../../src/exporters/console.js';
import type { LineOutput } from '../../../src/exporters/console-output.js';
import { Style } from '../../../src/exporters/console-style.js';
import { ReadableSpanFactory } from '../../../src/exporters/readable-span.js';
import { attributeKey, TraceRequestEncoder } from '../../../src/otlp/trace-request.js';
import { TraceContext } from '../../../src/traces/context.js';
import { type SampleSpan, sampleSpan } from './console-samples.js';

process.env.TZ = 'UTC';

const STYLE = new Style({ color: false, unicode: true, isTerminal: true, env: {} });

class FakeOutput implements LineOutput {
  readonly columns = 120;
  readonly isTerminal = true;
  readonly lines: string[] = [];
  isFull = false;

  write(text: string): boolean {
    if (this.isFull) return false;
    this.lines.push(...text.slice(0, -1).split('\n'));
    return true;
  }
  async flush(): Promise<void> {}
  close(): void {}
}

class Bench {
  readonly output = new FakeOutput();
  readonly exporter: ConsoleTraceExporter;
  nowMs = 0;

  constructor(options: Partial<ConsoleOptions> = {}) {
    this.exporter = new ConsoleTraceExporter({
      output: this.output,
      style: STYLE,
      nowMs: () => this.nowMs,
      ...options,
    });
  }

  show(...samples: readonly (Partial<SampleSpan> & { readonly id: string })[]): void {
    const spans = samples.map(sample => sampleSpan({ service: 'shop', kind: 'server', phases: [0, 0, 1], ...sample }));
    const bytes = ProtobufTraceSerializer.serializeRequest(new ReadableSpanFactory().toReadableSpans(spans));
    assert.ok(bytes !== undefined);
    // It takes what it is given before it returns.
    void this.exporter.export(bytes, spans.length);
  }

  /** Lets `ms` pass in steps of the exporter's timer. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 100) {
      this.nowMs += Math.min(100, left);
      this.exporter.tick();
    }
  }
}

function encode(count: number): { readonly bytes: Uint8Array; readonly spanCount: number } {
  const clock = new WallClock();
  clock.set(1_767_268_800, 0);
  const encoder = new TraceRequestEncoder({ clock, scopeName: 'underspan', scopeVersion: '0' });
  const service: Service = {
    id: 1,
    name: 'shop',
    namespace: '',
    instanceId: '1',
    attributes: [['service.name', 'shop']],
  };
  for (let index = 1; index <= count; index++) {
    const trace = new TraceContext();
    trace.id3 = index;
    encoder.beginSpan(service, trace, 0, index, 0, 0, false, 2, 1e6, 3e6);
    encoder.name('GET /a');
    encoder.string(attributeKey('http.request.method'), 'GET');
    encoder.string(attributeKey('url.path'), '/a');
    encoder.int(attributeKey('http.response.status_code'), 200);
    encoder.endSpan();
  }
  const [batch, ...rest] = encoder.flush();
  assert.ok(batch !== undefined && rest.length === 0);
  return batch;
}

test('encoded spans become lines, the legend once above them', async () => {
  const bench = new Bench();
  const { bytes, spanCount } = encode(2);
  assert.deepEqual(await bench.exporter.export(bytes, spanCount), { kind: 'ok' });
  bench.pass(300);
  const rows = bench.output.lines.filter(line => /← GET \/a +200 +2\.00ms/.test(line));
  assert.equal(rows.length, 2);
  assert.match(bench.output.lines[0] ?? '', /connect .*server works/);
  await bench.exporter.export(encode(1).bytes, 1);
  bench.pass(300);
  assert.equal(bench.output.lines.filter(line => line.includes('server works')).length, 1);
  await bench.exporter.shutdown(10);
});

test('bytes that are no spans are refused, not thrown', async () => {
  const bench = new Bench();
  const result = await bench.exporter.export(new Uint8Array([0x0a, 0xff]), 1);
  assert.equal(result.kind, 'refused');
});

test('spans of a trace that come one after the other make one tree', async () => {
  const bench = new Bench();
  bench.show({ id: '02', parent: '01', service: 'stock' });
  bench.pass(200);
  bench.show({ id: '01' });
  bench.pass(200);
  assert.deepEqual(bench.output.lines, []);
  bench.pass(100);
  assert.equal(bench.output.lines.filter(line => /shop|stock/.test(line)).length, 2);
  assert.match(bench.output.lines.at(-1) ?? '', /└─stock/);
  bench.show({ id: '03', parent: '01', service: 'late' });
  await bench.exporter.shutdown(10);
  assert.match(bench.output.lines.at(-1) ?? '', /late .*continues a1000000/);
});

test('in a flood some are left out and counted; what failed is still seen', async () => {
  const bench = new Bench({ maxLinesPerSecond: 10 });
  for (let index = 0; index < 1000; index++) {
    const isFailed = index % 200 === 199;
    bench.show({
      id: '01',
      trace: index.toString(16).padStart(8, 'e'),
      ...(isFailed && { status: 500, error: '500' }),
    });
  }
  bench.pass(1500);
  await bench.exporter.shutdown(10);
  const { received, skipped, filtered, leftOut, dropped, shown } = bench.exporter.counts;
  assert.equal(skipped + filtered + leftOut + dropped + shown, received);
  assert.equal(bench.output.lines.filter(line => / GET /.test(line)).length, shown);
  assert.ok(shown <= 45, `${shown} lines in 1.5 s`);
  assert.equal(bench.output.lines.filter(line => line.startsWith('✗')).length, 5);
  const told = bench.output.lines
    .filter(line => line.startsWith('⋯'))
    .map(line => Number(/([\d ]+) spans/.exec(line)?.[1]?.replace(/ /g, '')));
  assert.equal(
    told.reduce((sum, spans) => sum + spans, 0),
    leftOut,
  );
});

test('a flood beyond what a view is worth is not even looked at, and told', async () => {
  const bench = new Bench({ maxSpansPerSecond: 100, maxLinesPerSecond: 0 });
  const { bytes, spanCount } = encode(100);
  for (let index = 0; index < 5; index++) await bench.exporter.export(bytes, spanCount);
  await bench.exporter.shutdown(10);
  assert.equal(bench.exporter.counts.skipped, 400);
  assert.equal(bench.exporter.counts.shown, 100);
  assert.ok(bench.output.lines.some(line => /400 spans in .* not shown/.test(line)));
});

test('the filter shows a whole trace if one of its spans passes', async () => {
  const bench = new Bench({ filter: span => span.status >= 500 });
  bench.show({ id: '01', trace: 'a1', status: 200 }, { id: '02', parent: '01', trace: 'a1', status: 503 });
  bench.show({ id: '03', trace: 'b2', status: 200 });
  await bench.exporter.shutdown(10);
  assert.equal(bench.exporter.counts.shown, 2);
  assert.equal(bench.exporter.counts.filtered, 1);
});

test('a terminal that takes nothing loses lines, never time, and is told how many', async () => {
  const bench = new Bench();
  bench.output.isFull = true;
  bench.show({ id: '01', trace: 'a1' }, { id: '02', parent: '01', trace: 'a1' });
  bench.pass(300);
  bench.output.isFull = false;
  bench.show({ id: '03', trace: 'b2' });
  await bench.exporter.shutdown(10);
  assert.equal(bench.exporter.counts.dropped, 2);
  assert.match(bench.output.lines[0] ?? '', /lines are missing here/);
  assert.match(bench.output.lines.at(-1) ?? '', /shop/);
});

test('slow is what takes five times its usual time', async () => {
  const bench = new Bench({ maxLinesPerSecond: 0 });
  for (let index = 0; index < 40; index++) bench.show({ id: '01', trace: `f${index.toString(16)}`, phases: [0, 0, 4] });
  bench.show({ id: '01', trace: 'ee', phases: [0, 0, 40] });
  await bench.exporter.shutdown(10);
  const slow = bench.output.lines.filter(line => line.startsWith('▲'));
  assert.equal(slow.length, 1);
  assert.match(slow[0] ?? '', /40\.0ms .*\d+× usual/);
});

test('JSON: a line for each span that passes, at once; a slow reader is told what it missed', async () => {
  const output = new FakeOutput();
  const exporter = new ConsoleJsonExporter({ output, filter: span => span.path === '/a' });
  const { bytes } = encode(3);
  await exporter.export(bytes);
  assert.equal(output.lines.length, 3);
  output.isFull = true;
  await exporter.export(bytes);
  output.isFull = false;
  await exporter.shutdown(10);
  assert.equal(exporter.dropped, 3);
  assert.deepEqual(JSON.parse(output.lines[3] ?? ''), { dropped_spans: 3, reason: 'slow reader' });
});
