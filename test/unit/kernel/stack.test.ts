// The stacks of all functions that are under way have 512 bytes together, and they are at most 8
// (check_max_stack_depth in kernel/bpf/verifier.c). Since Linux 6.13 many programs have stacks of their own, so the
// kernel of the machine that runs these tests may take what 5.10 to 6.12 refuse.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { buildPath } from '../../../src/kernel/host.js';
import { type CodeFunction, functionsOf, INSTRUCTION_BYTES } from '../../support/bpf-code.js';

/** Of the kernel's 512, so that another version of clang has some to spare. */
const STACK_BYTES = 480;
const FRAMES = 8;
/** What the interpreter, and each verifier before 6.12, rounds a frame up to. */
const FRAME_UNIT = 32;

const CLASS_LDX = 0x01;
const CLASS_ST = 0x02;
const CLASS_STX = 0x03;
const FRAME_POINTER = 10;
const MOVE = 0xbf;
const ADD_CONSTANT = 0x07;

/** How far below its frame pointer a function reaches: by loads and stores, and by addresses that it hands on. */
function frameOf(code: Buffer): number {
  let deepest = 1;
  const copies = new Set<number>();
  for (let at = 0; at < code.length; at += INSTRUCTION_BYTES) {
    const operation = code.readUInt8(at);
    const registers = code.readUInt8(at + 1);
    const [target, source] = [registers & 15, registers >> 4];
    const kind = operation & 7;
    const isAccess =
      (kind === CLASS_LDX && source === FRAME_POINTER) ||
      ((kind === CLASS_ST || kind === CLASS_STX) && target === FRAME_POINTER);
    if (isAccess) deepest = Math.max(deepest, -code.readInt16LE(at + 2));
    if (operation === MOVE && source === FRAME_POINTER) copies.add(target);
    else if (operation === ADD_CONSTANT && copies.delete(target))
      deepest = Math.max(deepest, -code.readInt32LE(at + 4));
  }
  return Math.ceil(deepest / FRAME_UNIT) * FRAME_UNIT;
}

interface Chain {
  readonly bytes: number;
  readonly frames: readonly string[];
}

/** The chain of calls that `name` begins and that is the longest by `measure`. */
function longest(
  functions: ReadonlyMap<string, CodeFunction>,
  name: string,
  measure: (chain: Chain) => number,
  known: Map<string, Chain>,
): Chain {
  const before = known.get(name);
  if (before !== undefined) return before;
  const { code, calls } = functions.get(name) as CodeFunction;
  const bytes = frameOf(code);
  let chain: Chain = { bytes, frames: [`${name} ${bytes}`] };
  for (const call of calls) {
    const below = longest(functions, call, measure, known);
    const whole = { bytes: bytes + below.bytes, frames: [`${name} ${bytes}`, ...below.frames] };
    if (measure(whole) > measure(chain)) chain = whole;
  }
  known.set(name, chain);
  return chain;
}

function chainsBy(measure: (chain: Chain) => number): Chain[] {
  const functions = new Map(functionsOf(readFileSync(buildPath('underspan.bpf.o'))).map(each => [each.name, each]));
  const known = new Map<string, Chain>();
  return [...functions.keys()].map(name => longest(functions, name, measure, known));
}

test('no chain of calls takes more stack than every kernel gives', () => {
  const chains = chainsBy(({ bytes }) => bytes);
  assert.deepEqual(
    chains.filter(({ bytes }) => bytes > STACK_BYTES),
    [],
  );
  // The check sees chains at all.
  assert.ok(
    chains.some(({ bytes, frames }) => bytes > 300 && frames.length > 4),
    JSON.stringify(chains.slice(0, 5)),
  );
});

test('no chain of calls is deeper than every kernel follows', () => {
  assert.deepEqual(
    chainsBy(({ frames }) => frames.length).filter(({ frames }) => frames.length > FRAMES),
    [],
  );
});
