// TraceRequestEncoder against two judges: the generated description itself, and the SDK's ProtobufTraceSerializer fed
// with the same spans. Both byte strings go through decode.ts, so a wrong field number there shows as well: the SDK's
// serializer is written by hand elsewhere and shares nothing with it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import fc from 'fast-check';
import { WallClock } from '../../../src/clock.js';
import { type DecodedSpan, decodeTraces } from '../../../src/otlp/decode.js';
import { SCHEMA_URL } from '../../../src/otlp/resource.js';
import { attributeKey, type EncodedTraces, TraceRequestEncoder } from '../../../src/otlp/trace-request.js';
import { TraceContext } from '../../../src/traces/context.js';
import { type GeneratedSpan, generatedSpan, hex, readableSpan, resourceOf, serviceOf, writeSpan } from './spans.js';

const OFFSET: [number, number] = [1_790_000_000, 123_456_789];
const services = [0, 1, 2, 3].map(serviceOf);
const resources = services.map(resourceOf);

function newEncoder(
  limits: { maxRequestBytes?: number; maxRequestSpans?: number; maxBufferedBytes?: number } = {},
): TraceRequestEncoder {
  const clock = new WallClock();
  clock.set(...OFFSET);
  return new TraceRequestEncoder({ clock, scopeName: 'underspan', scopeVersion: '0.1.0', ...limits });
}

function decodeAll(requests: readonly EncodedTraces[]): DecodedSpan[] {
  return requests.flatMap(({ bytes, spanCount }) => {
    const spans = decodeTraces(bytes);
    assert.equal(spans.length, spanCount);
    return spans;
  });
}

/** Everything of a span but the schema URLs, which the SDK does not send. */
function meaning(span: DecodedSpan): unknown {
  const { resource, scope, ...rest } = span;
  return { ...rest, resource: resource.attributes, scope: { name: scope.name, version: scope.version } };
}

function unixNs(bootNs: number): bigint {
  return BigInt(OFFSET[0]) * 1_000_000_000n + BigInt(OFFSET[1]) + BigInt(bootNs);
}

/** UTF-8 cannot hold a lone surrogate; both encoders replace it. */
function asSent(value: unknown): unknown {
  if (typeof value === 'string') return Buffer.from(value).toString();
  return Array.isArray(value) ? value.map(asSent) : value;
}

function assertDescribed(actual: DecodedSpan, span: GeneratedSpan): void {
  const isRoot = span.parent[0] === 0 && span.parent[1] === 0;
  assert.equal(actual.traceId, hex(...span.traceWords));
  assert.equal(actual.spanId, hex(...span.span));
  assert.equal(actual.parentSpanId, isRoot ? '' : hex(...span.parent));
  assert.equal(actual.traceState, span.traceState);
  assert.equal(actual.name, asSent(span.name));
  assert.equal(actual.kind, span.kind);
  assert.equal(actual.startUnixNs, unixNs(span.startNs));
  assert.equal(actual.endUnixNs, unixNs(span.endNs));
  assert.deepEqual(
    [...actual.attributes],
    span.attributes.map(([name, { value }]) => [asSent(name), asSent(value)]),
  );
  assert.deepEqual(
    actual.events.map(event => [event.timeUnixNs, event.name]),
    span.events.map(([timeNs, name]) => [unixNs(timeNs), asSent(name)]),
  );
  assert.deepEqual(
    actual.links.map(link => [link.traceId, link.spanId, link.traceState]),
    span.links.map(ids => [hex(...span.traceWords), hex(...ids), span.traceState]),
  );
  assert.equal(actual.status.code, span.status);
  assert.equal(actual.flags & 0xff, span.traceFlags);
  assert.equal(actual.flags & 0x100, 0x100);
  assert.equal((actual.flags & 0x200) !== 0, span.parentIsRemote);
}

test('means what was written, and what the SDK writes', () => {
  fc.assert(
    fc.property(fc.array(generatedSpan, { minLength: 1, maxLength: 12 }), spans => {
      const encoder = newEncoder();
      for (const span of spans) assert.ok(writeSpan(encoder, services[span.service]!, span));
      assert.equal(encoder.spanCount, spans.length);
      const ours = decodeAll(encoder.flush());

      const inOrder = [...new Set(spans.map(span => span.service))].flatMap(id => spans.filter(s => s.service === id));
      assert.equal(ours.length, inOrder.length);
      ours.forEach((span, i) => {
        assertDescribed(span, inOrder[i]!);
      });

      // The SDK knows "remote" from the parent only, a root has none.
      const comparable = spans.map(s => (s.parent[0] === 0 ? { ...s, parentIsRemote: false } : s));
      const again = newEncoder();
      for (const span of comparable) writeSpan(again, services[span.service]!, span);
      const sdk = ProtobufTraceSerializer.serializeRequest(
        comparable.map(span => readableSpan(span, resources[span.service]!, OFFSET)),
      );
      assert.deepEqual(decodeAll(again.flush()).map(meaning), decodeTraces(sdk!).map(meaning));
    }),
    { numRuns: 300 },
  );
});

const plain: GeneratedSpan = {
  service: 0,
  traceWords: [1, 2, 3, 4],
  traceFlags: 1,
  traceState: '',
  span: [5, 6],
  parent: [0, 0],
  parentIsRemote: false,
  kind: 2,
  startNs: 1e12,
  endNs: 1e12 + 5e6,
  name: 'GET /',
  attributes: [],
  events: [],
  links: [],
  status: 0,
};

test('resource, scope and schema URL stand once per service', () => {
  const encoder = newEncoder();
  for (let i = 0; i < 9; i++) writeSpan(encoder, services[i % 3]!, { ...plain, span: [i + 1, 0] });
  const spans = decodeAll(encoder.flush());
  assert.equal(new Set(spans.map(span => span.resource)).size, 3);
  assert.deepEqual(
    spans.map(span => span.resource.attributes.get('service.name')),
    ['shop-0', 'shop-0', 'shop-0', 'shop-1', 'shop-1', 'shop-1', 'shop-2', 'shop-2', 'shop-2'],
  );
  assert.deepEqual(new Map(services[1]!.attributes), spans[3]!.resource.attributes);
  assert.equal(spans[0]!.resource.schemaUrl, SCHEMA_URL);
  assert.equal(spans[0]!.scope.schemaUrl, SCHEMA_URL);
  assert.equal(spans[0]!.scope.name, 'underspan');
  assert.equal(spans[0]!.scope.version, '0.1.0');
});

test('no request is larger than allowed, and none is lost to the cut', () => {
  fc.assert(
    fc.property(
      fc.array(generatedSpan, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1_000, max: 20_000 }),
      (spans, maxRequestBytes) => {
        const encoder = newEncoder({ maxRequestBytes });
        for (const span of spans) writeSpan(encoder, services[span.service]!, span);
        const requests = encoder.flush();
        for (const { bytes } of requests) assert.ok(bytes.length <= maxRequestBytes, `${bytes.length}`);
        assert.equal(decodeAll(requests).length + encoder.dropped.oversized, spans.length);
      },
    ),
    { numRuns: 100 },
  );
});

test('requests are filled, not sent one service each', () => {
  const encoder = newEncoder();
  for (let i = 0; i < 400; i++) writeSpan(encoder, services[i % 4]!, plain);
  const requests = encoder.flush();
  assert.equal(requests.length, 1);
  assert.equal(requests[0]!.bytes.byteOffset, 0);
  assert.equal(requests[0]!.bytes.buffer.byteLength, requests[0]!.bytes.length);
});

test('no request has more spans than allowed', () => {
  const encoder = newEncoder({ maxRequestSpans: 7 });
  for (let i = 0; i < 40; i++) writeSpan(encoder, services[i % 4]!, plain);
  const requests = encoder.flush();
  assert.equal(decodeAll(requests).length, 40);
  assert.deepEqual(
    requests.map(request => request.spanCount),
    [7, 7, 7, 7, 7, 5],
  );
});

test('flush empties the encoder, which then works again', () => {
  const encoder = newEncoder();
  assert.deepEqual(encoder.flush(), []);
  writeSpan(encoder, services[0]!, plain);
  assert.ok(encoder.byteLength > 0);
  assert.equal(decodeAll(encoder.flush()).length, 1);
  assert.equal(encoder.spanCount, 0);
  assert.equal(encoder.byteLength, 0);
  writeSpan(encoder, services[1]!, plain);
  assert.equal(decodeAll(encoder.flush())[0]!.resource.attributes.get('service.name'), 'shop-1');
});

class Watched extends Uint8Array {
  /** Of the longest source that was copied into it: where both begin within a word. */
  lies: readonly [number, number] = [0, 0];
  #longest = 0;

  override set(source: Uint8Array, at = 0): void {
    super.set(source, at);
    if (source.length <= this.#longest) return;
    this.#longest = source.length;
    this.lies = [source.byteOffset & 7, (this.byteOffset + at) & 7];
  }
}

test('spans lie in a request as they do in the buffer, from the second one of its kind on', () => {
  const made: Watched[] = [];
  const allocate = (byteLength: number): Uint8Array => {
    made.push(new Watched(new ArrayBuffer(byteLength + 5), 5, byteLength));
    return made.at(-1)!;
  };
  const clock = new WallClock();
  const encoder = new TraceRequestEncoder({ clock, scopeName: 'underspan', scopeVersion: '0.1.0', allocate });
  for (const service of services) {
    for (let turn = 0; turn < 2; turn++) {
      for (let span = 0; span < 50; span++) writeSpan(encoder, service, plain);
      assert.equal(decodeAll(encoder.flush()).length, 50);
    }
    const [from, to] = made.at(-1)!.lies;
    assert.equal(from, to);
  }
});

test('a service whose attributes are learnt late is a resource of its own', () => {
  const encoder = newEncoder();
  writeSpan(encoder, services[0]!, plain);
  writeSpan(encoder, { ...services[0]!, attributes: [['service.name', 'renamed']] }, plain);
  const names = decodeAll(encoder.flush()).map(span => span.resource.attributes.get('service.name'));
  assert.deepEqual(names, ['shop-0', 'renamed']);
});

test('a full buffer refuses, counts, and takes spans again after a flush', () => {
  const encoder = newEncoder({ maxBufferedBytes: 1000 });
  let accepted = 0;
  while (writeSpan(encoder, services[0]!, plain)) accepted++;
  assert.ok(encoder.byteLength >= 1000 && encoder.byteLength < 1200);
  assert.equal(writeSpan(encoder, services[0]!, plain), false);
  assert.deepEqual(encoder.dropped, { full: 2, oversized: 0, unfinished: 0 });
  assert.equal(decodeAll(encoder.flush()).length, accepted);
  assert.ok(writeSpan(encoder, services[0]!, plain));
});

test('a span larger than a request is dropped and counted, its neighbours stay', () => {
  const encoder = newEncoder({ maxRequestBytes: 2000 });
  writeSpan(encoder, services[0]!, { ...plain, name: 'before' });
  writeSpan(encoder, services[0]!, { ...plain, name: 'x'.repeat(3000) });
  writeSpan(encoder, services[0]!, { ...plain, name: 'after' });
  assert.deepEqual(
    decodeAll(encoder.flush()).map(span => span.name),
    ['before', 'after'],
  );
  assert.equal(encoder.dropped.oversized, 1);
});

test('a span that is never ended leaves nothing behind but a count', () => {
  const encoder = newEncoder();
  const trace = new TraceContext();
  trace.id0 = 1;
  encoder.beginSpan(services[0]!, trace, 1, 1, 0, 0, false, 2, 0, 1);
  encoder.name('abandoned');
  writeSpan(encoder, services[0]!, plain);
  encoder.beginSpan(services[0]!, trace, 1, 1, 0, 0, false, 2, 0, 1);
  assert.deepEqual(
    decodeAll(encoder.flush()).map(span => span.name),
    ['GET /'],
  );
  assert.equal(encoder.dropped.unfinished, 2);
});

test('an int that is no integer is sent as the double it is', () => {
  const encoder = newEncoder();
  const trace = new TraceContext();
  trace.id0 = 1;
  encoder.beginSpan(services[0]!, trace, 1, 1, 0, 0, false, 2, 0, 1);
  for (const value of [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
    encoder.int(attributeKey(String(value)), value);
  }
  encoder.endSpan();
  const [span] = decodeAll(encoder.flush());
  assert.deepEqual([...span!.attributes.values()], [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]);
});

test('spans longer than two bytes of length can say', () => {
  const encoder = newEncoder();
  for (const length of [16_000, 16_384, 40_000, 2_200_000]) {
    writeSpan(encoder, services[0]!, {
      ...plain,
      name: `n${length}`,
      attributes: [['long', { type: 'string', value: 'y'.repeat(length) }]],
    });
  }
  const spans = decodeAll(encoder.flush());
  assert.deepEqual(
    spans.map(span => [span.name, (span.attributes.get('long') as string).length]),
    [
      ['n16000', 16_000],
      ['n16384', 16_384],
      ['n40000', 40_000],
      ['n2200000', 2_200_000],
    ],
  );
});

test('thousands of services and a burst of spans grow and shrink the buffers', () => {
  const encoder = newEncoder();
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 9000; i++) writeSpan(encoder, serviceOf(i), { ...plain, span: [i + 1, round] });
    const spans = decodeAll(encoder.flush());
    assert.equal(spans.length, 9000);
    assert.equal(new Set(spans.map(span => span.spanId)).size, 9000);
    writeSpan(encoder, services[0]!, plain);
    assert.equal(decodeAll(encoder.flush()).length, 1);
  }
});
