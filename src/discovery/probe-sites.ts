// Where in a C library its functions are probed. In: the functions found. Out: places by program, chosen so that the kernel can
// emulate the instruction that the probe replaces. SSL_read and SSL_read_ex of OpenSSL begin with an instruction that it
// cannot, and are thin covers of one function: that is probed in their stead where its own first instruction is better.
import type { Executable, FoundSymbol } from './executable.js';
import { type Architecture, entrySiteOf, firstCallOf } from './instructions.js';
import type { LibraryProbe } from './tls-libraries.js';

export interface Places {
  /** File offsets by program. */
  readonly exits: ReadonlyMap<string, readonly number[]>;
  readonly entries: ReadonlyMap<string, readonly number[]>;
}

const PROLOGUE_BYTES = 64;
const COVER_BYTES = 96;
const INNER_BYTES = 32;

export function placesIn(
  executable: Executable,
  probes: readonly LibraryProbe[],
  symbols: ReadonlyMap<string, FoundSymbol>,
  architecture: Architecture,
): Places {
  const exits = new Map<string, number[]>();
  const entries = new Map<string, number[]>();
  const covered = new Set<string>();
  const add = (probe: Pick<LibraryProbe, 'enter' | 'exit'>, place: number) => {
    addTo(entries, probe.enter, place);
    if (probe.exit !== '') addTo(exits, probe.exit, place);
  };
  for (const probe of probes) {
    const found = symbols.get(probe.symbol);
    if (found === undefined || covered.has(probe.symbol)) continue;
    if (probe.unless !== undefined && symbols.has(probe.unless)) continue;
    const code = executable.read(found.offset, PROLOGUE_BYTES);
    const site = entrySiteOf(code, architecture, probe.exit !== '');
    const sized = probe.sized === undefined ? undefined : symbols.get(probe.sized.symbol);
    if (site < 0 && probe.sized !== undefined && sized !== undefined && architecture === 'x64') {
      const inner = innerOf(executable, found, sized);
      if (inner >= 0) {
        add({ enter: probe.sized.enter, exit: probe.exit }, inner);
        covered.add(probe.sized.symbol);
        continue;
      }
    }
    add(probe, found.offset + Math.max(0, site));
  }
  return { exits, entries };
}

/** The place in the function that both call first, -1 if they do not or if it is no better to probe. */
function innerOf(executable: Executable, cover: FoundSymbol, sized: FoundSymbol): number {
  const [one, other] = [cover, sized].map(({ offset, size }) => {
    const call = firstCallOf(executable.read(offset, Math.min(size || COVER_BYTES, COVER_BYTES)));
    return call === null ? -1 : offset + call;
  });
  if (one === undefined || one < 0 || one !== other || !executable.isCode(one)) return -1;
  const site = entrySiteOf(executable.read(one, INNER_BYTES), 'x64', true);
  return site < 0 ? -1 : one + site;
}

function addTo(places: Map<string, number[]>, program: string, offset: number): void {
  const known = places.get(program);
  if (known === undefined) places.set(program, [offset]);
  else known.push(offset);
}
