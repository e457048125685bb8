import assert from 'node:assert/strict';
import test from 'node:test';
import { spanToJson, toRfc3339 } from '../../../src/exporters/console-json.js';
import { NOON_NS, sampleSpan } from './console-samples.js';

test('one flat object a span', () => {
  const line = spanToJson(
    sampleSpan({ id: '01', parent: 'ff', service: 'shop', kind: 'server', phases: [1, 0, 2], status: 200, path: '/a' }),
  );
  const { attributes, resource, ...rest } = JSON.parse(line);
  assert.deepEqual(rest, {
    trace_id: 'a1000000000000000000000000000000',
    span_id: '0100000000000000',
    parent_span_id: 'ff00000000000000',
    service: 'shop',
    kind: 'server',
    name: 'GET',
    start: '2026-01-01T12:00:00.000000000Z',
    duration_s: 0.003,
    status: 'unset',
  });
  assert.equal(attributes['url.path'], '/a');
  assert.equal(attributes['http.response.status_code'], 200);
  assert.equal(attributes['underspan.processing'], 0.002);
  assert.deepEqual(resource, { 'service.name': 'shop' });
});

test('start has nanoseconds', () => {
  assert.equal(toRfc3339(NOON_NS + 5n), '2026-01-01T12:00:00.000000005Z');
});

test('what the wire says stays one harmless line, and is the same when parsed', () => {
  const path = '/\x1b[2J\r\n\x9b\u202e\u2028\u{e0041}"\\東';
  const line = spanToJson(sampleSpan({ id: '01', service: 'shop', kind: 'server', path }));
  assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  assert.equal(JSON.parse(line).attributes['url.path'], path);
});

test('values that JSON has no form for', () => {
  const more = {
    big: 2n ** 60n,
    infinite: Number.POSITIVE_INFINITY,
    bytes: new Uint8Array([1, 2, 3]),
    list: ['a', 1],
    nothing: null,
    map: new Map([['k', 'v']]),
  };
  const line = spanToJson(sampleSpan({ id: '01', service: 'shop', kind: 'server', more }));
  const { big, infinite, bytes, list, nothing, map } = JSON.parse(line).attributes;
  assert.deepEqual(
    { big, infinite, bytes, list, nothing, map },
    { big: '1152921504606846976', infinite: 'Infinity', bytes: 'AQID', list: ['a', 1], nothing: null, map: { k: 'v' } },
  );
});
