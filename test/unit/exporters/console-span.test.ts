import assert from 'node:assert/strict';
import test from 'node:test';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { toSpanFacts, toSpanView } from '../../../src/exporters/console-span.js';
import { ReadableSpanFactory } from '../../../src/exporters/readable-span.js';
import { scanTraces } from '../../../src/otlp/scan.js';
import { type SampleSpan, sampleSpan } from './console-samples.js';

test('what filters look at is the same at a glance as decoded; a handshake has the port of its server on both sides', () => {
  const peer = { 'network.peer.port': 40_001 };
  const samples: readonly SampleSpan[] = [
    { id: '01', service: 'shop', kind: 'server', path: '/a', status: 200, phases: [1], more: peer },
    { id: '02', service: 'shop', kind: 'client', path: '/b?q=1#c', status: 503, phases: [5] },
    { id: '03', service: 'shop', kind: 'client', authority: ['proxied.example', 80], more: peer },
    { id: '04', service: 'shop', kind: 'connect', authority: ['10.0.0.1', 5432], durationMs: 3 },
    { id: '05', service: 'shop', kind: 'connect', authority: ['10.0.0.9', 40_002], more: { 'server.port': 443 } },
  ];
  const decoded = samples.map(sampleSpan);
  const bytes = ProtobufTraceSerializer.serializeRequest(new ReadableSpanFactory().toReadableSpans(decoded));
  const facts = scanTraces(bytes ?? new Uint8Array(0)).map(toSpanFacts);
  assert.deepEqual(
    facts,
    decoded.map(toSpanView).map(({ path, status, durationNs, port }) => ({ path, status, durationNs, port })),
  );
  assert.deepEqual(
    facts.map(({ port }) => port),
    [8080, 8080, 40_001, 5432, 443],
  );
});
