// What must hold for any input: generated connections with losses and failures keep the books balanced, and bytes that are
// no records, or records in no sensible order, do no harm. fast-check prints the seed of a failure.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Slab } from '../../../src/records/dispatch.js';
import {
  ConnectionOpenedEventCursor,
  EVENT_CONNECTION_OPENED,
  ROLE_CLIENT,
  ROLE_SERVER,
  ROLE_UNKNOWN,
} from '../../../src/records/records.gen.js';
import { MS, record, requestText, responseText, type Story, slabBytes, T0 } from '../../support/record-builder.js';
import { attribute, Harness, HOLD_NS } from './harness.js';

/** What one side does next; `which` names the connection. */
interface Act {
  readonly which: number;
  readonly kind: 'read' | 'wrote' | 'readEnd' | 'failed' | 'finished' | 'closed' | 'progress' | 'tick' | 'back';
  readonly text: string;
  readonly isLost: boolean;
}

const CHUNKED = 'Transfer-Encoding: chunked';
const FRAGMENTS = [
  requestText('GET /a'),
  requestText('HEAD /h'),
  requestText('POST /b', ['Host: a', 'Content-Length: 5'], 'hello'),
  requestText('POST /big', ['Host: a', 'Content-Length: 9000'], 'x'.repeat(9000)),
  requestText('POST /c', ['Host: a', CHUNKED], '5\r\nhello\r\n0\r\n\r\n'),
  requestText('POST /v1/traces', ['Host: a', 'Content-Type: application/json', 'Content-Length: 0']),
  requestText('GET /long', ['Host: a', `Cookie: ${'c'.repeat(6000)}`]),
  requestText('GET /ws', ['Host: a', 'Connection: Upgrade', 'Upgrade: websocket']),
  requestText('CONNECT a:1', ['Host: a:1']),
  requestText('GET /1').repeat(3),
  responseText(200, 'hello'),
  responseText(204),
  responseText(304),
  responseText(500, 'x'.repeat(7000)),
  responseText(200).repeat(2),
  `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n\r\n1388\r\n${'x'.repeat(5000)}\r\n0\r\n\r\n`,
  'HTTP/1.0 200 OK\r\n\r\nuntil close',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n',
  'HTTP/1.1 abc\r\n\r\n',
  '\x16\x03\x01',
  'x'.repeat(5000),
  'GET',
  '\r\n',
];

const acts: fc.Arbitrary<Act> = fc.record({
  which: fc.integer({ min: 0, max: 2 }),
  kind: fc.constantFrom(
    ...(['read', 'read', 'read', 'wrote', 'wrote', 'wrote'] as const),
    ...(['readEnd', 'failed', 'finished', 'closed', 'progress', 'tick', 'back'] as const),
  ),
  text: fc
    .tuple(fc.constantFrom(...FRAGMENTS), fc.nat(100), fc.nat(100))
    .map(([text, from, to]) => (from + to < 60 ? text : text.slice((from * text.length) / 300, text.length - to / 2))),
  isLost: fc
    .boolean()
    .chain(maybe => (maybe ? fc.integer({ min: 0, max: 3 }).map(die => die === 0) : fc.constant(false))),
});

function perform(harness: Harness, stories: Story[], act: Act): void {
  const story = stories[act.which] as Story;
  const { isLost, text } = act;
  if (act.kind === 'read') story.read(text, { isLost });
  else if (act.kind === 'wrote') story.wrote(text, { isLost });
  else if (act.kind === 'failed') story.failed(text.length % 2, 104, { isLost });
  else if (act.kind === 'progress') story.progress();
  else if (act.kind === 'back') story.ingressSeq -= text.length;
  else if (act.kind === 'tick') harness.tape.nowNs += 700e9;
  else if (act.kind === 'closed') {
    story.closed({ isLost, flags: text.length % 2 === 0 ? 32 : 0 });
    stories[act.which] = open(harness, act.which, story.slot, story.generation + 2);
  } else story[act.kind]({ isLost });
}

function open(harness: Harness, which: number, slot: number, generation: number): Story {
  const role = [ROLE_SERVER, ROLE_CLIENT, ROLE_UNKNOWN][which] as number;
  return harness
    .server({ role, slot, generation })
    .opened({ connectNs: T0, establishedNs: T0 + 1, acceptedNs: T0 + 2 });
}

test('the books balance after every act of any story: begun = told + dropped + under way', () => {
  fc.assert(
    fc.property(fc.array(acts, { minLength: 1, maxLength: 40 }), list => {
      const harness = new Harness({ maxExchanges: 20 });
      const stories = [0, 1, 2].map(which => open(harness, which, which, 1));
      for (const act of list) {
        perform(harness, stories, act);
        harness.play();
        for (const { slot, generation, verdict } of harness.verdicts) {
          for (const story of stories)
            if (story.slot === slot && story.generation === generation) story.verdict = verdict;
        }
        harness.assertBalanced();
      }
      for (const story of stories) story.closed();
      harness.play();
      // Closed records reached everybody: nothing may be left but what was never closed.
      assert.equal(harness.pipeline.activeExchanges, 0);
      assert.equal(harness.pipeline.connections.open, 0);
      assert.equal(harness.pipeline.connections.synchrony.awaited.size, 0);
      for (const span of harness.finish()) {
        assert.ok(span.endUnixNs >= span.startUnixNs);
        assert.ok(span.startUnixNs >= BigInt(T0));
        assert.ok(span.endUnixNs <= BigInt(harness.tape.nowNs + HOLD_NS));
        if (span.kind !== 1) assert.equal(typeof attribute(span, 'url.path'), 'string');
      }
    }),
    { numRuns: 200 },
  );
});

/** A harness that has seen one whole tape of ordinary traffic, and the slabs of that tape. */
function ordinary(): { data: Uint8Array[]; control: Uint8Array[] } {
  const harness = new Harness();
  const story = harness.server({ slot: 0 }).opened();
  for (const text of FRAGMENTS.slice(0, 5)) story.read(text).wrote(responseText(200, 'hello'));
  harness.tape.executed(300, 1, ['a', 'b']);
  harness.tape.exited(300);
  harness.tape.connectFailed(200, { address: '1.2.3.4', port: 5 }, 111, T0);
  story.readEnd().finished().closed();
  return { data: harness.tape.ring('data'), control: harness.tape.ring('control') };
}

function survive(harness: Harness, data: Uint8Array, control: Uint8Array, progress: Uint8Array): void {
  harness.pipeline.process(new Slab(data), new Slab(control));
  harness.pipeline.dispatcher.runOne(new Slab(progress));
  harness.pipeline.tick(T0 + 1e9);
  harness.pipeline.connections.abandonAll();
  harness.finish();
}

test('bytes that are no records: nothing throws, nothing is begun', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.uint8Array({ maxLength: 600 }), (data, control) => {
      survive(new Harness(), data, control, data);
    }),
    { numRuns: 150 },
  );
});

test('records cut short, overwritten here and there, doubled and out of order: nothing throws, the books balance', () => {
  const { data, control } = ordinary();
  const edits = fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 12 });
  fc.assert(
    fc.property(
      fc.shuffledSubarray([...data, ...data], { minLength: 1 }),
      fc.shuffledSubarray([...control, ...control], { minLength: 1 }),
      edits,
      edits,
      fc.nat(64),
      (someData, someControl, dataEdits, controlEdits, cut) => {
        const edit = (records: readonly Uint8Array[], changes: readonly (readonly [number, number])[]): Uint8Array => {
          const bytes = slabBytes(records);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          return bytes.subarray(0, Math.max(0, bytes.length - cut));
        };
        survive(
          new Harness(),
          edit(someData, dataEdits),
          edit(someControl, controlEdits),
          edit(someData, controlEdits),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test('a slot number from nowhere costs neither memory nor time', () => {
  const harness = new Harness();
  for (const slot of [0xffff_ffff, 0xffff_fff0, 0x8000_0000, 100_000_000]) {
    const bytes = record(ConnectionOpenedEventCursor, EVENT_CONNECTION_OPENED, { timeNs: T0, slot, generation: 1 });
    harness.tape.add('control', T0, bytes);
  }
  const story = harness.server({ slot: 1 }).opened().read(requestText('GET /a'));
  const before = process.hrtime.bigint();
  harness.play();
  harness.pipeline.tick(T0 + 10e9);
  harness.pipeline.tick(T0 + 20e9);
  assert.ok(process.hrtime.bigint() - before < 1_000_000_000n, 'a walk over slots that do not exist');
  story.wrote(responseText(), { at: T0 + 21e9 + MS });
  assert.equal(harness.finish().filter(({ kind }) => kind === 2).length, 1);
  assert.ok(harness.pipeline.dispatcher.malformed + harness.pipeline.connections.strayRecords >= 4);
});
