// What older kernels (5.10 and 6.1 do) refuse before they look at any value: a loop whose head is entered by falling into it while the
// walk is still below it (check_cfg in kernel/bpf/verifier.c). clang lays some loops out like that, and the kernel of the
// machine that runs these tests may take them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { buildPath } from '../../../src/kernel/host.js';
import { CALL, functionsOf, INSTRUCTION_BYTES } from '../../support/bpf-code.js';

const EXIT = 0x95;
const JUMP = 0x05;
const LOAD_64 = 0x18;
const CLASS_JMP = 0x05;
const CLASS_JMP32 = 0x06;

/** Where the walk may go from instruction `index`; `falls`: by no jump. */
function successors(code: Buffer, index: number): { readonly to: number; readonly falls: boolean }[] {
  const at = index * INSTRUCTION_BYTES;
  const operation = code.readUInt8(at);
  if (operation === EXIT) return [];
  if (operation === LOAD_64) return [{ to: index + 2, falls: true }];
  const isJump = (operation & 7) === CLASS_JMP || (operation & 7) === CLASS_JMP32;
  if (!isJump || operation === CALL) return [{ to: index + 1, falls: true }];
  const target = { to: index + 1 + code.readInt16LE(at + 2), falls: false };
  return operation === JUMP ? [target] : [{ to: index + 1, falls: false }, target];
}

/** The walk of check_cfg: depth first, the fall-through of a conditional jump before its target. */
function fallsIntoLoop(code: Buffer): boolean {
  const isOpen = new Map<number, boolean>([[0, true]]);
  const stack = [{ index: 0, next: successors(code, 0) }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const step = top.next.shift();
    if (step === undefined) {
      isOpen.set(top.index, false);
      stack.pop();
      continue;
    }
    const known = isOpen.get(step.to);
    if (known === true && step.falls) return true;
    if (known !== undefined) continue;
    isOpen.set(step.to, true);
    stack.push({ index: step.to, next: successors(code, step.to) });
  }
  return false;
}

test('no function of the kernel side falls into the head of a loop', () => {
  const functions = functionsOf(readFileSync(buildPath('underspan.bpf.o')));
  assert.ok(functions.length > 60, `${functions.length} functions`);
  assert.deepEqual(
    functions.filter(({ code }) => fallsIntoLoop(code)).map(({ name }) => name),
    [],
  );
});

test('the kernel side compiles for arm64 too, with the same programs', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'underspan-arm64-'));
  try {
    const target = path.join(folder, 'underspan.bpf.o');
    execFileSync('make', ['--silent', '-C', 'bpf', 'ARCH=arm64', `BUILD=${folder}`, target], { encoding: 'utf8' });
    const names = (file: string): string[] =>
      functionsOf(readFileSync(file))
        .map(({ name }) => name)
        .sort();
    assert.deepEqual(names(target), names(buildPath('underspan.bpf.o')));
    for (const { name, code } of functionsOf(readFileSync(target))) assert.ok(!fallsIntoLoop(code), name);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the check finds such a loop', () => {
  const instructions = [
    [JUMP, 1], // to the head
    [0x07, 0], // the body: r0 += 0
    [0x25, -2], // the head: if r0 > 0 back to the body, which falls into the head
    [EXIT, 0],
  ] as const;
  const code = Buffer.alloc(instructions.length * INSTRUCTION_BYTES);
  instructions.forEach(([operation, offset], index) => {
    code.writeUInt8(operation, index * INSTRUCTION_BYTES);
    code.writeInt16LE(offset, index * INSTRUCTION_BYTES + 2);
  });
  assert.ok(fallsIntoLoop(code));
});
