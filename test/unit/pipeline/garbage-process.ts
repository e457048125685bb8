// How many bytes of JavaScript heap an exchange takes on its way through the pipeline: a story of many server exchanges, built
// beforehand, runs through a whole pipeline in a process whose young generation is so large that nothing is collected
// meanwhile. Out: one JSON line, bytes per exchange of each pass. Run it with the flags of garbage.test.ts.
import { Slab } from '../../../src/records/dispatch.js';
import { requestText, responseText, type Story, slabBytes } from '../../support/record-builder.js';
import { Harness } from './harness.js';

const CONNECTIONS = 20;
const EXCHANGES_PER_PASS = 4000;
const PASSES = 12;
const BATCH_RECORDS = 200;
const FIELDS = ['Host: shop.example:8080', 'User-Agent: Mozilla/5.0 (X11; Linux x86_64)', 'Accept: */*'];

function told(stories: readonly Story[]): void {
  for (let at = 0; at < EXCHANGES_PER_PASS; at++) {
    const story = stories[at % stories.length] as Story;
    story.read(requestText(`GET /items/${at % 40} HTTP/1.1`, FIELDS)).wrote(responseText(200, 'x'.repeat(100)));
  }
}

function passOf(harness: Harness): number {
  const records = harness.tape.ring('data');
  const slabs: Slab[] = [];
  for (let at = 0; at < records.length; at += BATCH_RECORDS) {
    slabs.push(new Slab(slabBytes(records.slice(at, at + BATCH_RECORDS))));
  }
  harness.tape.pieces.length = 0;
  const { pipeline } = harness;
  const nothing = new Slab(0);
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (const slab of slabs) {
    pipeline.process(slab, nothing);
    pipeline.tick(pipeline.dispatcher.lastNs);
  }
  const used = process.memoryUsage().heapUsed - before;
  pipeline.flush();
  return used / EXCHANGES_PER_PASS;
}

const harness = new Harness();
const stories = Array.from({ length: CONNECTIONS }, () => harness.server().opened());
harness.play();
const passes: number[] = [];
for (let pass = 0; pass < PASSES; pass++) {
  told(stories);
  passes.push(passOf(harness));
}
if (harness.pipeline.ledger.spans < EXCHANGES_PER_PASS * (PASSES - 1)) throw new Error('exchanges were lost');
process.stdout.write(`${JSON.stringify(passes)}\n`);
