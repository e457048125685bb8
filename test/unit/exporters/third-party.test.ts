// Span exporters written for the OpenTelemetry SDK: loaded by name, fed with what the SDK would feed them.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { AgentError } from '../../../src/errors.js';
import { ReadableSpanFactory } from '../../../src/exporters/readable-span.js';
import { loadThirdPartyExporter, type ThirdPartyOptions } from '../../../src/exporters/third-party.js';
import { decodeTraces } from '../../../src/otlp/decode.js';
import { traceRequest } from './requests.js';

let directory = '';
/** Where the exporters of the files below leave what they got. */
const seen = globalThis as { exported?: ReadableSpan[][]; options?: unknown };

const SOURCES: Readonly<Record<string, string>> = {
  'keeping.cjs': `exports.Keeping = class {
    constructor(options) { globalThis.options = options; globalThis.exported = []; }
    export(spans, done) { globalThis.exported.push(spans); done({ code: 0 }); }
    async shutdown() {}
  };`,
  'keeping.mjs': `export default class {
    constructor() { globalThis.exported = []; }
    export(spans, done) { globalThis.exported.push(spans); setTimeout(() => done({ code: 0 }), 5); }
    async shutdown() {}
  }`,
  'bad.cjs': `
    const make = send => class { export(spans, done) { send(spans, done); } async shutdown() { throw new Error('stuck'); } };
    exports.Failing = make((spans, done) => done({ code: 1, error: new TypeError('quota') }));
    exports.Throwing = make(() => { throw new Error('boom'); });
    exports.Silent = make(() => {});
    exports.NotOne = class { };
    exports.NotMade = class { constructor() { throw new Error('needs a key'); } };`,
};

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'underspan-exporters-'));
  for (const [name, source] of Object.entries(SOURCES)) writeFileSync(join(directory, name), source);
});
after(() => rmSync(directory, { recursive: true }));

const lines: string[] = [];
function options(module: string, name: string, more: Partial<ThirdPartyOptions> = {}): ThirdPartyOptions {
  return {
    module,
    export: name,
    options: {},
    baseDirectory: directory,
    log: (level, message) => lines.push(`${level} ${message}`),
    ...more,
  };
}

test('CommonJS and ES modules are loaded by path, and made with their options', async () => {
  const exporter = await loadThirdPartyExporter(options('./keeping.cjs', 'Keeping', { options: { url: 'x' } }));
  assert.deepEqual(seen.options, { url: 'x' });
  const { bytes } = traceRequest('a', 3);
  assert.deepEqual(await exporter.export(bytes, 3), { kind: 'ok' });
  assert.equal(seen.exported?.flat().length, 3);
  const other = await loadThirdPartyExporter(options('./keeping.mjs', 'default'));
  assert.deepEqual(await other.export(bytes, 3), { kind: 'ok' });
  assert.equal(seen.exported?.flat().length, 3);
  await exporter.shutdown(100);
});

test('packages are found beside Underspan when the working directory has none', async () => {
  const exporter = await loadThirdPartyExporter(options('@opentelemetry/sdk-trace-base', 'InMemorySpanExporter'));
  assert.deepEqual(await exporter.export(traceRequest('a', 2).bytes, 2), { kind: 'ok' });
  await exporter.shutdown(100);
});

test('what cannot be used says why, and ends the start', async () => {
  const cases = [
    ['./missing.cjs', 'X', /Cannot find module/],
    ['underspan-no-such-package', 'X', /Cannot find package/],
    ['./keeping.cjs', 'Nope', /no such class/],
    ['./bad.cjs', 'NotOne', /no methods export and shutdown/],
    ['./bad.cjs', 'NotMade', /needs a key/],
  ] as const;
  for (const [module, name, reason] of cases) {
    await assert.rejects(loadThirdPartyExporter(options(module, name)), (error: unknown) => {
      assert.ok(error instanceof AgentError);
      assert.equal(error.code, 'EXPORTER_UNUSABLE');
      assert.match(error.message, reason);
      return true;
    });
  }
});

test('failures, exceptions and silence come out as refusals', async () => {
  const { bytes } = traceRequest('a', 1);
  const results = [];
  for (const name of ['Failing', 'Throwing', 'Silent']) {
    const exporter = await loadThirdPartyExporter(options('./bad.cjs', name, { timeoutMs: 50 }));
    results.push(await exporter.export(bytes, 1));
  }
  assert.deepEqual(results, [
    { kind: 'refused', code: 'TypeError', message: 'quota' },
    { kind: 'refused', code: 'exception', message: 'boom' },
    { kind: 'refused', code: 'timeout', message: 'no answer within 50 ms' },
  ]);
});

test('a shutdown that fails is told', async () => {
  const exporter = await loadThirdPartyExporter(options('./bad.cjs', 'Failing'));
  lines.length = 0;
  await exporter.shutdown(100);
  assert.deepEqual(lines, ['warn Failing of ./bad.cjs: failed to shut down: stuck']);
});

test('the spans are what the SDK would give: its serializer makes the same request of them', () => {
  const { bytes } = traceRequest('a', 6);
  const spans = decodeTraces(bytes);
  const again = ProtobufTraceSerializer.serializeRequest(new ReadableSpanFactory().toReadableSpans(spans));
  assert.deepEqual(decodeTraces(again!), spans);
});

test('spans of one service share one resource object, from batch to batch', () => {
  const factory = new ReadableSpanFactory();
  const first = factory.toReadableSpans(decodeTraces(traceRequest('a', 6).bytes));
  const second = factory.toReadableSpans(decodeTraces(traceRequest('b', 6).bytes));
  assert.equal(new Set([...first, ...second].map(span => span.resource)).size, 2);
  assert.equal(new Set([...first, ...second].map(span => span.instrumentationScope)).size, 1);
});

test('kind, parent, times and duration follow the API', () => {
  const [root, , child] = new ReadableSpanFactory().toReadableSpans(decodeTraces(traceRequest('a', 4).bytes));
  assert.equal(root!.kind, 1);
  assert.equal(root!.parentSpanContext, undefined);
  assert.deepEqual(root!.startTime, [1_790_000_001, 0]);
  assert.deepEqual(root!.endTime, [1_790_000_002, 0]);
  assert.deepEqual(root!.duration, [1, 0]);
  assert.equal(root!.spanContext().traceFlags, 1);
  assert.equal(child!.name, 'a-1');
  assert.equal(child!.parentSpanContext?.spanId, '0000000100000000');
  assert.equal(child!.parentSpanContext?.isRemote, true);
  assert.equal((child as { parentSpanId?: string }).parentSpanId, '0000000100000000');
});
