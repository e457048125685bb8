// Lengths of machine instructions, enough to walk a function from its first to its last and to find where it returns. x86-64
// by tables of opcodes (Intel SDM volume 2, appendix A); arm64 has four bytes each. An instruction that is not known ends
// the walk: no probe is put where its place is not certain.
export type Architecture = 'x64' | 'arm64';

const UNKNOWN = 0;

const PREFIXES = new Set([0x66, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65]);

/** 0 invalid here, 1 no operand bytes, 2 ModRM; the immediate's kind is added. */
const NO_MODRM = 1;
const MODRM = 2;
const IMM8 = 4;
/** 4 bytes, 2 with the operand-size prefix. */
const IMM_Z = 8;
const IMM16 = 16;
const SPECIAL = 32;

function oneByteMap(): Uint8Array {
  const map = new Uint8Array(256);
  const set = (from: number, to: number, value: number) => map.fill(value, from, to + 1);
  for (let row = 0; row < 0x40; row += 8) {
    set(row, row + 3, MODRM);
    map[row + 4] = NO_MODRM | IMM8;
    map[row + 5] = NO_MODRM | IMM_Z;
  }
  set(0x50, 0x5f, NO_MODRM);
  map[0x63] = MODRM;
  map[0x68] = NO_MODRM | IMM_Z;
  map[0x69] = MODRM | IMM_Z;
  map[0x6a] = NO_MODRM | IMM8;
  map[0x6b] = MODRM | IMM8;
  set(0x6c, 0x6f, NO_MODRM);
  set(0x70, 0x7f, NO_MODRM | IMM8);
  map[0x80] = MODRM | IMM8;
  map[0x81] = MODRM | IMM_Z;
  map[0x83] = MODRM | IMM8;
  set(0x84, 0x8f, MODRM);
  set(0x90, 0x9f, NO_MODRM);
  map[0x9a] = 0;
  set(0xa4, 0xa7, NO_MODRM);
  map[0xa8] = NO_MODRM | IMM8;
  map[0xa9] = NO_MODRM | IMM_Z;
  set(0xaa, 0xaf, NO_MODRM);
  set(0xb0, 0xb7, NO_MODRM | IMM8);
  set(0xb8, 0xbf, NO_MODRM | SPECIAL);
  set(0xc0, 0xc1, MODRM | IMM8);
  map[0xc2] = NO_MODRM | IMM16;
  map[0xc3] = NO_MODRM;
  map[0xc6] = MODRM | IMM8;
  map[0xc7] = MODRM | IMM_Z;
  map[0xc9] = NO_MODRM;
  map[0xcc] = NO_MODRM;
  set(0xd0, 0xd3, MODRM);
  set(0xd8, 0xdf, MODRM);
  set(0xe0, 0xe3, NO_MODRM | IMM8);
  set(0xe8, 0xe9, NO_MODRM | IMM_Z);
  map[0xeb] = NO_MODRM | IMM8;
  map[0xf4] = NO_MODRM;
  set(0xf6, 0xf7, MODRM | SPECIAL);
  set(0xf8, 0xfd, NO_MODRM);
  set(0xfe, 0xff, MODRM);
  return map;
}

function twoByteMap(): Uint8Array {
  const map = new Uint8Array(256).fill(MODRM);
  for (const at of [0x05, 0x0b, 0x31, 0x77, 0xa2]) map[at] = NO_MODRM;
  map.fill(NO_MODRM | IMM_Z, 0x80, 0x90);
  map.fill(NO_MODRM, 0xc8, 0xd0);
  map.fill(MODRM | IMM8, 0x70, 0x74);
  for (const at of [0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6]) map[at] = MODRM | IMM8;
  return map;
}

const ONE_BYTE = oneByteMap();
const TWO_BYTE = twoByteMap();

/** Bytes of the ModRM byte at `at` and what belongs to it. */
function modrmBytes(code: Uint8Array, at: number): number {
  const modrm = code[at] as number;
  const mod = modrm >> 6;
  if (mod === 3) return 1;
  const hasSib = (modrm & 7) === 4;
  const base = hasSib ? (code[at + 1] as number) & 7 : modrm & 7;
  const displacement = mod === 1 ? 1 : mod === 2 || base === 5 ? 4 : 0;
  return 1 + (hasSib ? 1 : 0) + displacement;
}

/** Bytes of the x86-64 instruction at `at`; 0 if it is not known or does not end within `code`. */
export function instructionBytes(code: Uint8Array, at: number): number {
  let to = at;
  let isShort = false;
  while (PREFIXES.has(code[to] as number)) {
    if (code[to] === 0x66) isShort = true;
    to++;
  }
  let isWide = false;
  if (((code[to] as number) & 0xf0) === 0x40) isWide = ((code[to++] as number) & 8) !== 0;
  const opcode = code[to++] as number;
  let kind: number;
  let reg = 0;
  if (opcode === 0xc5 || opcode === 0xc4) {
    const mapNumber = opcode === 0xc5 ? 1 : (code[to] as number) & 31;
    to += opcode === 0xc5 ? 1 : 2;
    const inner = code[to++] as number;
    kind = mapNumber === 1 ? (TWO_BYTE[inner] as number) : mapNumber === 2 ? MODRM : mapNumber === 3 ? MODRM | IMM8 : 0;
    if ((kind & IMM_Z) !== 0) kind = MODRM;
  } else if (opcode === 0x0f) {
    const second = code[to++] as number;
    if (second === 0x38) {
      kind = MODRM;
      to++;
    } else if (second === 0x3a) {
      kind = MODRM | IMM8;
      to++;
    } else kind = TWO_BYTE[second] as number;
  } else kind = ONE_BYTE[opcode] as number;
  if ((kind & (NO_MODRM | MODRM)) === 0) return UNKNOWN;
  if ((kind & MODRM) !== 0) {
    if (to >= code.length) return UNKNOWN;
    reg = ((code[to] as number) >> 3) & 7;
    to += modrmBytes(code, to);
  }
  if ((kind & IMM8) !== 0) to += 1;
  if ((kind & IMM16) !== 0) to += 2;
  if ((kind & IMM_Z) !== 0) to += isShort ? 2 : 4;
  if ((kind & SPECIAL) !== 0) {
    if (opcode >= 0xb8 && opcode <= 0xbf) to += isWide ? 8 : isShort ? 2 : 4;
    else if (reg < 2) to += opcode === 0xf6 ? 1 : isShort ? 2 : 4;
  }
  return to <= code.length ? to - at : UNKNOWN;
}

/** Where a function returns, as offsets into its code; null if it cannot be walked to its end. */
export function returnsOf(code: Uint8Array, architecture: Architecture): number[] | null {
  const returns: number[] = [];
  if (architecture === 'arm64') {
    const view = new DataView(code.buffer, code.byteOffset, code.length);
    for (let at = 0; at + 4 <= code.length; at += 4) if (view.getUint32(at, true) === 0xd65f03c0) returns.push(at);
    return returns;
  }
  for (let at = 0; at < code.length; ) {
    const bytes = instructionBytes(code, at);
    if (bytes === UNKNOWN) return null;
    if (code[at] === 0xc3) returns.push(at);
    at += bytes;
  }
  return returns;
}

/** Where x86-64 code calls `target`, an offset relative to the code; null if it cannot be walked to its end. */
export function callsOf(code: Uint8Array, target: number): number[] | null {
  const calls: number[] = [];
  const view = new DataView(code.buffer, code.byteOffset, code.length);
  for (let at = 0; at < code.length; ) {
    const bytes = instructionBytes(code, at);
    if (bytes === UNKNOWN) return null;
    if (code[at] === 0xe8 && at + 5 + view.getInt32(at + 1, true) === target) calls.push(at);
    at += bytes;
  }
  return calls;
}

/** What may come before a probe: it compares, computes into a scratch register or jumps on a condition. */
function leavesArguments(code: Uint8Array, at: number): boolean {
  const [first, second] = [code[at], code[at + 1]];
  if (first === 0x76 || (first === 0x0f && ((second as number) & 0xf0) === 0x80)) return true;
  if ((first === 0x49 || first === 0x4d) && second === 0x3b) return true; // cmp register with the stack's limit
  return first === 0x4c && second === 0x8d; // lea into r8 to r15: Go's stack check uses r12 and r13
}

/**
 * Where to probe the entry of a Go function. The kernel emulates `push %rbp`; what else stands there, the stack check,
 * would have to be stepped over, and is run again when the stack has grown. 0, the first instruction, if it looks otherwise.
 */
export function goEntryOf(code: Uint8Array, architecture: Architecture): number {
  if (architecture === 'arm64') return 0;
  for (let at = 0, count = 0; at < code.length && count < 6; count++) {
    if (code[at] === 0x55) return at;
    const bytes = instructionBytes(code, at);
    if (bytes === UNKNOWN || !leavesArguments(code, at)) return 0;
    at += bytes;
  }
  return 0;
}

/** Does the kernel emulate this instruction under a probe (arch/x86/kernel/uprobes.c), rather than step over a copy of it? */
export function isEmulated(code: Uint8Array, at: number): boolean {
  const [first, second] = [code[at] as number, code[at + 1] as number];
  if ((first >= 0x50 && first <= 0x57) || (first === 0x41 && second >= 0x50 && second <= 0x57)) return true; // push
  if (first === 0x90 || first === 0xe8 || first === 0xe9 || first === 0xeb) return true; // nop, call, jmp
  return (first >= 0x70 && first <= 0x7f) || (first === 0x0f && second >= 0x80 && second <= 0x8f); // jcc
}

const STACK_POINTER = 4;
/** rcx, rdx, rsi, rdi, r8, r9 by number. */
const ARGUMENTS: ReadonlySet<number> = new Set([1, 2, 6, 7, 8, 9]);

/** What an instruction changes that a probe behind it would need: 'nothing', the 'stack' pointer, or 'unknown'. */
function changes(code: Uint8Array, from: number): 'nothing' | 'stack' | 'unknown' {
  if (code[from] === 0xf3 && code[from + 1] === 0x0f && code[from + 2] === 0x1e && code[from + 3] === 0xfa)
    return 'nothing';
  let at = from;
  if (code[at] === 0x64) at++; // fs: the stack protector's value
  let rex = 0;
  if (((code[at] as number) & 0xf0) === 0x40) rex = code[at++] as number;
  const opcode = code[at] as number;
  const modrm = code[at + 1] as number;
  const isRegister = modrm >> 6 === 3;
  const reg = ((modrm >> 3) & 7) + ((rex & 4) << 1);
  const rm = (modrm & 7) + ((rex & 1) << 3);
  const group = (modrm >> 3) & 7;
  const into = (register: number) =>
    register === STACK_POINTER ? 'stack' : ARGUMENTS.has(register) ? 'unknown' : 'nothing';
  if (opcode === 0x84 || opcode === 0x85 || (opcode >= 0x38 && opcode <= 0x3d)) return 'nothing'; // test, cmp
  if ((opcode === 0xf6 || opcode === 0xf7) && group === 0) return 'nothing'; // test
  if (opcode === 0x80 || opcode === 0x81 || opcode === 0x83) {
    return group === 7 ? 'nothing' : isRegister ? into(rm) : 'unknown';
  }
  if (opcode === 0x8b || opcode === 0x8d || opcode === 0x33) return into(reg);
  if (opcode === 0x89 || opcode === 0x31) return isRegister ? into(rm) : 'nothing';
  return 'unknown';
}

/**
 * Where to probe the entry of a C function, as an offset into its code: the first instruction that the kernel emulates
 * while the arguments are still in their registers and, for a probe of the return, the return address is still on top of
 * the stack. -1 if there is none: to step over another instruction costs 16 us and more on a virtual machine.
 */
export function entrySiteOf(code: Uint8Array, architecture: Architecture, hasReturn: boolean): number {
  if (architecture === 'arm64') return 0;
  for (let at = 0, count = 0; at < code.length && count < 8; count++) {
    const bytes = instructionBytes(code, at);
    if (bytes === UNKNOWN) return -1;
    if (isEmulated(code, at)) return at;
    const changed = changes(code, at);
    if (changed === 'unknown' || (changed === 'stack' && hasReturn)) return -1;
    at += bytes;
  }
  return -1;
}

const RDI = 7;

/** May an instruction change the register of a C function's first argument? What is not known may. */
function changesFirst(code: Uint8Array, from: number): boolean {
  let at = from;
  while (code[at] === 0x66 || code[at] === 0x2e || code[at] === 0xf0) at++; // operand size, cs, lock
  let rex = 0;
  if (((code[at] as number) & 0xf0) === 0x40) rex = code[at++] as number;
  const opcode = code[at] as number;
  const [second, modrm] =
    opcode === 0x0f ? [code[at + 1] as number, code[at + 2] as number] : [0, code[at + 1] as number];
  const reg = ((modrm >> 3) & 7) + ((rex & 4) << 1);
  const rm = (modrm & 7) + ((rex & 1) << 3);
  const isMemory = modrm >> 6 !== 3;
  if (second === 0x1f) return false; // nop
  if (second === 0xb1) return !isMemory && rm === RDI; // cmpxchg
  if (second === 0xc1) return reg === RDI || (!isMemory && rm === RDI); // xadd
  if (second >= 0x90 && second <= 0x9f) return !isMemory && rm === RDI; // setcc
  if (second !== 0) return true;
  if (opcode === 0xa8 || opcode === 0xa9 || opcode === 0x84 || opcode === 0x85) return false; // test
  if (opcode >= 0x38 && opcode <= 0x3d) return false; // cmp
  if (opcode === 0x8b || opcode === 0x8d || opcode === 0x33 || opcode === 0x2b || opcode === 0x03) return reg === RDI;
  if (opcode === 0x80 || opcode === 0x81 || opcode === 0x83) return !isMemory && rm === RDI;
  if (opcode === 0x89 || opcode === 0x31 || opcode === 0x21 || opcode === 0x09 || opcode === 0x01)
    return !isMemory && rm === RDI;
  if (opcode === 0xc1 || opcode === 0xd1 || opcode === 0xf6 || opcode === 0xf7) return !isMemory && rm === RDI;
  if (opcode >= 0xb8 && opcode <= 0xbf) return (opcode & 7) + ((rex & 1) << 3) === RDI; // mov immediate
  return true;
}

/** The like for programs that read nothing but the first argument, through more of what compilers put before. */
export function firstArgumentSiteOf(code: Uint8Array, architecture: Architecture): number {
  if (architecture === 'arm64') return 0;
  for (let at = 0, count = 0; at < code.length && count < 12; count++) {
    const bytes = instructionBytes(code, at);
    if (bytes === UNKNOWN) return -1;
    if (isEmulated(code, at)) return at;
    if (changesFirst(code, at)) return -1;
    at += bytes;
  }
  return -1;
}

/** The first instruction of a function that the kernel emulates, up to where it may first turn off; -1 if there is none. */
export function emulatedSiteOf(code: Uint8Array, architecture: Architecture): number {
  if (architecture === 'arm64') return 0;
  for (let at = 0; at < code.length; ) {
    if (isEmulated(code, at)) return at;
    const bytes = instructionBytes(code, at);
    if (bytes === UNKNOWN || code[at] === 0xc3) return -1;
    at += bytes;
  }
  return -1;
}

/** Offset, relative to this code, of the function that it calls first; null if it calls none before it returns. */
export function firstCallOf(code: Uint8Array): number | null {
  for (let at = 0; at + 5 <= code.length; ) {
    const bytes = instructionBytes(code, at);
    if (bytes === UNKNOWN || code[at] === 0xc3) return null;
    if (code[at] === 0xe8) return at + 5 + new DataView(code.buffer, code.byteOffset + at + 1, 4).getInt32(0, true);
    at += bytes;
  }
  return null;
}
