// How many bytes of JavaScript heap an open connection holds that has been used once and may be used again: many of them, built
// beforehand, go through a whole pipeline, and what is left after a collection is counted. Out: one JSON line, bytes per
// connection. Run it with --expose-gc.
import { Slab } from '../../../src/records/dispatch.js';
import { requestText, responseText, slabBytes } from '../../support/record-builder.js';
import { Harness } from './harness.js';

const CONNECTIONS = 10_000;
const FIELDS = ['Host: shop.example:8080', 'User-Agent: Mozilla/5.0 (X11; Linux x86_64)', 'Accept: */*'];

const harness = new Harness();
const { pipeline } = harness;

function heapBytes(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

/** The records of one connection, from its opening to its first answer. */
function recordsOfOne(): { readonly data: Slab; readonly control: Slab } {
  const story = harness.server().opened();
  story.read(requestText('GET /items/1 HTTP/1.1', FIELDS)).wrote(responseText(200, 'x'.repeat(100)));
  const slabs = {
    data: new Slab(slabBytes(harness.tape.ring('data'))),
    control: new Slab(slabBytes(harness.tape.ring('control'))),
  };
  harness.tape.pieces.length = 0;
  return slabs;
}

function open(count: number): void {
  for (let at = 0; at < count; at++) {
    const { data, control } = recordsOfOne();
    pipeline.process(control, data);
  }
  pipeline.tick(pipeline.dispatcher.lastNs + 1e9);
  pipeline.flush();
}

// What is there once: tables, strings, code.
open(200);
const before = heapBytes();
const from = pipeline.connections.open;
open(CONNECTIONS);
const held = heapBytes() - before;
const opened = pipeline.connections.open - from;
if (opened !== CONNECTIONS) throw new Error(`${opened} connections are open`);
if (pipeline.openExchanges !== 0) throw new Error(`${pipeline.openExchanges} exchanges are not over`);
process.stdout.write(`${JSON.stringify(held / CONNECTIONS)}\n`);
