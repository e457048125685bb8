// Lengths of instructions against what an assembler's documentation says, and against real code: the functions of this very
// Node.js are walked from their first to their last byte.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Executable } from '../../../src/discovery/executable.js';
import { callsOf, goEntryOf, instructionBytes, returnsOf } from '../../../src/discovery/instructions.js';

const CASES: readonly (readonly [string, string])[] = [
  ['55', 'push rbp'],
  ['4157', 'push r15'],
  ['4889e5', 'mov rbp, rsp'],
  ['4883ec58', 'sub rsp, 0x58'],
  ['4881ecc0000000', 'sub rsp, 0xc0'],
  ['488d6424b8', 'lea rsp, [rsp-0x48]'],
  ['4c8d6424b8', 'lea r12, [rsp-0x48]'],
  ['493b6610', 'cmp rsp, [r14+0x10]'],
  ['0f8696070000', 'jbe rel32'],
  ['7605', 'jbe rel8'],
  ['e8bf1dfeff', 'call rel32'],
  ['eb10', 'jmp rel8'],
  ['c3', 'ret'],
  ['c644241f00', 'mov byte [rsp+0x1f], 0'],
  ['48c744242000000000', 'mov qword [rsp+0x20], 0'],
  ['440f117c2430', 'movups [rsp+0x30], xmm15'],
  ['66440fd67c2450', 'movq [rsp+0x50], xmm15'],
  ['488d1d00000000', 'lea rbx, [rip+0]'],
  ['48b80102030405060708', 'movabs rax, imm64'],
  ['b801000000', 'mov eax, 1'],
  ['66b80100', 'mov ax, 1'],
  ['f6c701', 'test bh, 1'],
  ['f7d8', 'neg eax'],
  ['f7c700010000', 'test edi, 0x100'],
  ['64488b042528000000', 'mov rax, fs:0x28'],
  ['660f1f440000', 'nop word [rax+rax]'],
  ['f30f1efa', 'endbr64'],
  ['f0480fc106', 'lock xadd [rsi], rax'],
  ['0fb6c8', 'movzx ecx, al'],
  ['660f3a0fc108', 'palignr xmm0, xmm1, 8'],
  ['660f3800c1', 'pshufb xmm0, xmm1'],
  ['c5f877', 'vzeroupper'],
  ['c5fe6f06', 'vmovdqu ymm0, [rsi]'],
  ['c4e37d39c101', 'vextracti128 xmm1, ymm0, 1'],
  ['ff2500000000', 'jmp [rip+0]'],
  ['0f0b', 'ud2'],
];

test('lengths of instructions', () => {
  for (const [hex, text] of CASES) {
    const code = Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(16, 0x90)]);
    assert.equal(instructionBytes(code, 0), hex.length / 2, text);
  }
});

test('an instruction that does not end, or is none, has no length', () => {
  assert.equal(instructionBytes(Buffer.from('48b801', 'hex'), 0), 0);
  assert.equal(instructionBytes(Buffer.from('06909090', 'hex'), 0), 0);
  assert.equal(instructionBytes(Buffer.from('0f', 'hex'), 0), 0);
});

test('returns are found where they are instructions, not where a constant looks like one', () => {
  // mov eax, 0xc3c3c3c3; ret; mov eax, 1; ret; int3
  const code = Buffer.from('b8c3c3c3c3c3b801000000c3cc', 'hex');
  assert.deepEqual(returnsOf(code, 'x64'), [5, 11]);
  assert.deepEqual(returnsOf(Buffer.from('c0035fd61f2003d5c0035fd6', 'hex'), 'arm64'), [0, 8]);
  assert.equal(returnsOf(Buffer.from('9006c3', 'hex'), 'x64'), null);
});

test('calls of a function are found where they are instructions', () => {
  // mov eax, 0x00000ae8; call +16; call +0; ret
  const code = Buffer.from('b8e80a0000e80b000000e800000000c3', 'hex');
  assert.deepEqual(callsOf(code, 21), [5]);
  assert.deepEqual(callsOf(code, 15), [10]);
  assert.deepEqual(callsOf(code, 1), []);
  assert.equal(callsOf(Buffer.from('06', 'hex'), 0), null);
});

test('a Go function is entered behind its stack check, where the kernel need not step', () => {
  const read = Buffer.from('493b66100f86b4030000554889e5', 'hex');
  assert.equal(goEntryOf(read, 'x64'), 10);
  const write = Buffer.from('4c8d6424b84d3b66100f8693070000554889e5', 'hex');
  assert.equal(goEntryOf(write, 'x64'), 15);
  const odd = Buffer.from('4889c3554889e5', 'hex'); // moves an argument first
  assert.equal(goEntryOf(odd, 'x64'), 0);
});

test('real functions are walked from their first to their last byte', { skip: process.arch !== 'x64' }, () => {
  const executable = Executable.open(process.execPath) as Executable;
  const names = [
    'SSL_read',
    'SSL_write',
    'SSL_do_handshake',
    'SSL_free',
    'BIO_write',
    'napi_create_function',
    'napi_wrap',
  ];
  const found = [...executable.dynamicSymbols(names).values()];
  assert.ok(found.length >= 2);
  for (const { name, offset, size } of found) {
    const returns = returnsOf(executable.read(offset, size), 'x64');
    assert.ok(returns !== null && returns.length > 0, name);
  }
  executable.close();
});
