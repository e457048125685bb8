// Where HotSpot tells that a thread waits and that another one wakes it (bpf/java.bpf.c): marks for tools that watch it (SystemTap's
// "USDT"), which need no flag and cost nothing while nobody looks. In: an executable or a library. Out: places by program, in
// the order in which they are to be probed.
// Layout of a note of .note.stapsdt: sizes of name and text, type 3, `stapsdt`; the text is three addresses (the mark, where
// .stapsdt.base was then, a semaphore), then provider, name and arguments, each ended by a zero.
import type { Executable, FoundSymbol } from './executable.js';
import type { Architecture } from './instructions.js';
import type { TaskPlace } from './python-tasks.js';

/** What every HotSpot exports. */
export const JVM_SYMBOL = 'JVM_StartThread';
const SECTION = '.note.stapsdt';
const BASE_SECTION = '.stapsdt.base';
const NOTES_MAX_BYTES = 1 << 20;
const NOTE_TYPE = 3;
const TEXT_AT = 24;

/** Arguments that the programs read: of java_unpark, and of java_park_0 and so on, by their place here. */
const UNPARKED: Readonly<Record<Architecture, string>> = { x64: '8@%rdi', arm64: '8@x0' };
const PARKED: Readonly<Record<Architecture, readonly string[]>> = {
  x64: ['rbx', 'rcx', 'r12', 'r13', 'r14', 'r15'].map(register => `8@%${register}`),
  arm64: [19, 20, 21, 22, 23, 24].map(number => `8@x${number}`),
};

interface Mark {
  readonly name: string;
  readonly offset: number;
  /** The first one. */
  readonly argument: string;
}

/** null if it is no HotSpot; a reason if it cannot be probed. */
export function wakeUpPlaces(
  executable: Executable,
  symbols: ReadonlyMap<string, FoundSymbol>,
  architecture: Architecture,
): readonly TaskPlace[] | string | null {
  if (!symbols.has(JVM_SYMBOL)) return null;
  const marks = marksIn(executable);
  const begins = marks.filter(({ name }) => name === 'thread__park__begin');
  const ends = marks.filter(({ name }) => name === 'thread__park__end');
  const wakes = marks.filter(({ name }) => name === 'thread__unpark');
  if (begins.length === 0 || ends.length === 0 || wakes.length === 0) return 'built without marks (--enable-dtrace)';
  const programs = begins.map(({ argument }) => PARKED[architecture].indexOf(argument));
  if (programs.includes(-1) || wakes.some(({ argument }) => argument !== UNPARKED[architecture]))
    return 'built in a way that is not known';
  return [
    { program: 'java_park_end', offsets: ends.map(({ offset }) => offset), isReturn: false },
    ...begins.map(({ offset }, at) => ({ program: `java_park_${programs[at]}`, offsets: [offset], isReturn: false })),
    { program: 'java_unpark', offsets: wakes.map(({ offset }) => offset), isReturn: false },
  ];
}

function marksIn(executable: Executable): readonly Mark[] {
  const section = executable.section(SECTION);
  if (section === null) return [];
  const base = executable.section(BASE_SECTION)?.address ?? 0;
  const notes = executable.read(section.offset, Math.min(section.size, NOTES_MAX_BYTES));
  const marks: Mark[] = [];
  for (let at = 0; at + 12 <= notes.length; ) {
    const textAt = at + 12 + padded(notes.readUInt32LE(at));
    const textBytes = notes.readUInt32LE(at + 4);
    if (notes.readUInt32LE(at + 8) === NOTE_TYPE && textBytes > TEXT_AT && textAt + textBytes <= notes.length) {
      const text = notes.subarray(textAt, textAt + textBytes);
      const [provider, name = '', given = ''] = text.toString('latin1', TEXT_AT).split('\0', 3);
      const moved = base === 0 ? 0 : base - Number(text.readBigUInt64LE(8));
      const offset = executable.offsetOf(Number(text.readBigUInt64LE(0)) + moved);
      if (provider === 'hotspot' && executable.isCode(offset))
        marks.push({ name, offset, argument: given.split(' ', 1)[0] as string });
    }
    at = textAt + padded(textBytes);
  }
  return marks;
}

function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}
