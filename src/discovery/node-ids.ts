// Where Node.js keeps the ids of what its loop runs (bpf/node.h): async_id_fields, which belongs to an Environment. Two of its own
// functions tell by their instructions where, whatever the version: the one that each turn of the loop passes through, how far
// its argument lies behind the Environment's beginning; the one for embedders that returns the id, where the pointer is.
import type { Executable, FoundSymbol } from './executable.js';
import { type Architecture, instructionBytes } from './instructions.js';

/** node::AsyncHooksGetExecutionAsyncId(v8::Isolate*) */
export const EXECUTION_ID = '_ZN4node29AsyncHooksGetExecutionAsyncIdEPN2v87IsolateE';

export interface NodeLayout {
  /** Offset in the Environment of the handle by which the loop tells of each turn. */
  readonly handleAt: number;
  /** Offset in the Environment of the pointer to the ids. */
  readonly fieldsAt: number;
}

const CODE_MAX_BYTES = 512;
/** An Environment has a few thousand bytes. */
const OFFSET_MAX = 65536;
/** rsp, rbp: what lies on the stack is no Environment. */
const STACK: ReadonlySet<number> = new Set([4, 5]);
const ARGUMENT1 = 7;

/** null if the functions look otherwise: nothing is known of the ids then. */
export function nodeLayout(
  executable: Executable,
  turned: FoundSymbol,
  executionId: FoundSymbol,
  architecture: Architecture,
): NodeLayout | null {
  const code = ({ offset, size }: FoundSymbol): Buffer =>
    executable.read(offset, Math.min(size || CODE_MAX_BYTES, CODE_MAX_BYTES));
  const [handle, fields] =
    architecture === 'arm64'
      ? [argumentMinusArm64(code(turned)), loadedDoubleArm64(code(executionId))]
      : [argumentMinus(code(turned)), loadedDouble(code(executionId))];
  return isOffset(handle) && isOffset(fields) ? { handleAt: handle, fieldsAt: fields } : null;
}

function isOffset(offset: number): boolean {
  return offset > 0 && offset < OFFSET_MAX && offset % 8 === 0;
}

/** x86-64: `lea -OFFSET(%rdi), REGISTER`, the first one; 0 if there is none. */
function argumentMinus(code: Buffer): number {
  for (let at = 0; at < code.length; ) {
    const bytes = instructionBytes(code, at);
    if (bytes === 0) return 0;
    const [rex, opcode, modrm] = [code[at] as number, code[at + 1], code[at + 2] as number];
    const isLea = (rex & 0xf9) === 0x48 && opcode === 0x8d && (rex & 1) === 0 && (modrm & 7) === ARGUMENT1;
    if (isLea && modrm >> 6 === 2) return -code.readInt32LE(at + 3);
    if (isLea && modrm >> 6 === 1) return -code.readInt8(at + 3);
    at += bytes;
  }
  return 0;
}

/** x86-64: OFFSET of `mov OFFSET(BASE), REGISTER` where `movsd (REGISTER), %xmm0` follows; 0 if there is no such pair. */
function loadedDouble(code: Buffer): number {
  /** By register: where what it holds was loaded from, 0: not known. */
  const loaded = new Array<number>(16).fill(0);
  for (let at = 0; at < code.length; ) {
    const bytes = instructionBytes(code, at);
    if (bytes === 0) return 0;
    const found = doubleAt(code, at);
    if (found >= 0 && (loaded[found] as number) > 0) return loaded[found] as number;
    const [rex, opcode, modrm] = [code[at] as number, code[at + 1], code[at + 2] as number];
    if ((rex & 0xf8) === 0x48 && opcode === 0x8b) {
      const register = ((modrm >> 3) & 7) | ((rex & 4) << 1);
      const base = (modrm & 7) | ((rex & 1) << 3);
      const hasSib = (modrm & 7) === 4;
      const isFar = modrm >> 6 === 2 && !STACK.has(base);
      loaded[register] = isFar ? code.readInt32LE(at + (hasSib ? 4 : 3)) : 0;
    }
    at += bytes;
  }
  return 0;
}

/** The register of `movsd (REGISTER), %xmm0`, -1 if it is another instruction. */
function doubleAt(code: Buffer, at: number): number {
  if (code[at] !== 0xf2) return -1;
  const rex = ((code[at + 1] as number) & 0xf0) === 0x40 ? (code[at + 1] as number) : 0;
  const opcode = at + (rex === 0 ? 1 : 2);
  const modrm = code[opcode + 2] as number;
  if (code[opcode] !== 0x0f || code[opcode + 1] !== 0x10 || modrm > 7 || modrm === 4 || modrm === 5) return -1;
  return modrm | ((rex & 1) << 3);
}

/** arm64: `sub REGISTER, x0, #OFFSET`, the first one; 0 if there is none. */
function argumentMinusArm64(code: Buffer): number {
  for (let at = 0; at + 4 <= code.length; at += 4) {
    const word = code.readUInt32LE(at);
    if ((word & 0xffc003e0) >>> 0 === 0xd1000000) return (word >>> 10) & 0xfff;
  }
  return 0;
}

/** arm64: OFFSET of `ldr REGISTER, [BASE, #OFFSET]` where `ldr d0, [REGISTER]` follows; 0 if there is no such pair. */
function loadedDoubleArm64(code: Buffer): number {
  const loaded = new Array<number>(32).fill(0);
  for (let at = 0; at + 4 <= code.length; at += 4) {
    const word = code.readUInt32LE(at);
    if ((word & 0xfffffc1f) >>> 0 === 0xfd400000) return loaded[(word >>> 5) & 31] as number;
    if ((word & 0xffc00000) >>> 0 === 0xf9400000) loaded[word & 31] = ((word >>> 10) & 0xfff) * 8;
  }
  return 0;
}
