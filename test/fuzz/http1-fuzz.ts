// Feeds mutated HTTP/1 into the parsers for as long as told and compares each reading with the reference's, with the same
// bytes in other chunks, and with gaps. In: the corpus (test/fuzz/corpus/http1, test/fixtures/http1) and a seed. Out: the
// number of inputs; the first input that fails is printed, and kept in the corpus when run from the command line.
//   node dist/test/fuzz/http1-fuzz.js [--seconds N] [--seed N]
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Random } from '../support/random.js';
import { readCases } from './http1-cases.js';
import { readAll } from './http1-reference.js';
import { checkResync, checkSound, replay, singleBytes } from './http1-replay.js';

const CORPUS = 'test/fuzz/corpus/http1';
const FIXTURES = 'test/fixtures/http1';
const MAX_BYTES = 2048;
/** The seeds change with the run: at most so many inputs take part in crossings. */
const MAX_POOL = 500;
/** A value that the parser may have cut: the reference does not. */
const CAPPED = /"(?:[^"\\]|\\.){200}/;
const METHODS = ['GET', 'HEAD', 'CONNECT', 'POST', ''];

/** What is worth inserting into HTTP/1. */
const WORDS = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '0',
  '0\r\n\r\n',
  '5\r\nhello\r\n',
  'ffffffffffffffff\r\n',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/1.1 200 OK\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 101 x\r\n\r\n',
  'GET / HTTP/1.1\r\n',
  'Content-Length: 3\r\n',
  'Content-Length: 3, 3\r\n',
  'content-length:\r\n 4\r\n',
  'Transfer-Encoding: chunked\r\n',
  'transfer-encoding: gzip,\r\n\tchunked\r\n',
  'Connection: close\r\n',
  'Host: a\r\n',
  'User-Agent: é\r\n',
  'Expect: 100-continue\r\n',
  '\xc3',
  '\xff\xfe',
  '\0',
].map(word => Buffer.from(word, 'latin1'));

function mutate(source: Uint8Array, pool: readonly Uint8Array[], random: Random): Uint8Array {
  let bytes = Buffer.from(source);
  for (let round = random.below(5); round >= 0; round--) {
    const at = random.below(bytes.length + 1);
    const behind = Math.min(bytes.length, at + random.below(12));
    const before = bytes.subarray(0, at);
    switch (random.below(6)) {
      case 0:
        if (at < bytes.length) bytes[at] = random.below(256);
        break;
      case 1:
        bytes = Buffer.concat([before, bytes.subarray(behind)]);
        break;
      case 2:
        bytes = Buffer.concat([before, random.pick(WORDS), bytes.subarray(at)]);
        break;
      case 3:
        bytes = Buffer.concat([before, bytes.subarray(at, behind), bytes.subarray(at)]);
        break;
      case 4:
        bytes = Buffer.concat([before, random.pick(WORDS), bytes.subarray(behind)]);
        break;
      default: {
        const other = random.pick(pool);
        bytes = Buffer.concat([before, other.subarray(random.below(other.length + 1))]);
      }
    }
  }
  return bytes.subarray(0, MAX_BYTES);
}

/** All that is checked of one input. Throws if something does not hold. */
export function checkInput(bytes: Uint8Array, isRequest: boolean, methods: readonly string[], seed: number): void {
  const random = new Random(seed);
  const options = { isRequest, methods, isFinished: random.below(2) === 0 };
  const whole = replay([bytes], options);
  const reference = readAll(bytes, options);
  if (!reference.lines.some(line => CAPPED.test(line))) {
    assert.deepEqual([...whole.lines, whole.state], [...reference.lines, reference.state], 'the reference');
  }
  const poisoned = replay([bytes], { ...options, poison: 0x41 });
  assert.deepEqual(poisoned.lines, whole.lines, 'bytes around the chunk');
  const single = replay(singleBytes(bytes), options);
  assert.deepEqual([...single.lines, single.state], [...whole.lines, whole.state], 'byte by byte');
  const at = random.below(bytes.length + 1);
  const behind = Math.min(bytes.length, at + random.below(40));
  const split = replay([bytes.subarray(0, at), bytes.subarray(at, behind), bytes.subarray(behind)], options);
  assert.deepEqual([...split.lines, split.state], [...whole.lines, whole.state], `split at ${at} and ${behind}`);
  const finished = replay([bytes], { ...options, isFinished: true });
  const lossy = replay([bytes.subarray(0, at), behind - at, bytes.subarray(behind)], { ...options, isFinished: true });
  checkSound(lossy.log, finished.log, at === behind ? [] : [at]);
  for (const run of [whole, single, split, lossy]) checkResync(run, isRequest);
}

/** Every input of the corpus and of the fixtures, without gaps. */
export function readCorpus(): Uint8Array[] {
  const files = readdirSync(CORPUS).map(name => readFileSync(join(CORPUS, name)));
  const fixtures = readCases(FIXTURES).map(({ pieces }) =>
    Buffer.concat(pieces.filter(piece => typeof piece !== 'number')),
  );
  return [...files, ...fixtures].map(bytes => bytes.subarray(0, MAX_BYTES));
}

/** An input that failed, and why. */
export class FuzzFailure extends Error {
  readonly input: Uint8Array;

  constructor(input: Uint8Array, isRequest: boolean, seed: number, cause: unknown) {
    const direction = isRequest ? 'request' : 'response';
    super(`${direction}, seed ${seed}: ${JSON.stringify(Buffer.from(input).toString('latin1'))}\n${String(cause)}`, {
      cause,
    });
    this.input = input;
  }
}

function checkOne(input: Uint8Array, isRequest: boolean, methods: readonly string[], seed: number): void {
  try {
    checkInput(input, isRequest, methods, seed);
  } catch (error) {
    throw new FuzzFailure(input, isRequest, seed, error);
  }
}

/** Fuzzes until `isDone` says so (asked before each input); the number of inputs. Throws a FuzzFailure. */
export function fuzz(seed: number, isDone: (inputs: number) => boolean): number {
  const random = new Random(seed);
  const pool = readCorpus();
  let inputs = 0;
  for (const input of pool) {
    for (const method of METHODS) checkOne(input, false, [method], seed);
    checkOne(input, true, [], seed);
  }
  while (!isDone(inputs)) {
    const input = mutate(random.pick(pool), pool, random);
    checkOne(input, random.below(2) === 0, [random.pick(METHODS), random.pick(METHODS)], random.below(2 ** 31));
    if (random.below(20) === 0) {
      if (pool.length < MAX_POOL) pool.push(input);
      else pool[random.below(MAX_POOL)] = input;
    }
    inputs++;
  }
  return inputs;
}

function main(): void {
  const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
  const seconds = Number(values.seconds ?? 10);
  const seed = Number(values.seed ?? Date.now() % 2 ** 31);
  const end = Date.now() + seconds * 1000;
  try {
    const inputs = fuzz(seed, () => Date.now() >= end);
    console.log(`${inputs} inputs in ${seconds} s, seed ${seed}: all read alike`);
  } catch (error) {
    if (error instanceof FuzzFailure) {
      const name = createHash('sha256').update(error.input).digest('hex').slice(0, 16);
      writeFileSync(join(CORPUS, `${name}.bin`), error.input);
      console.error(`kept as ${join(CORPUS, name)}.bin`);
    }
    console.error(error);
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
