// The config's selectors in the form that the kernel filters by. Bit i of an include (exclude) mask is include (exclude)
// selector i. A process carries the bits of the selectors whose process criteria it meets, a port those whose port criteria
// it meets; a connection is observed if and only if
//     (process.include & connection.include) != 0  and  (process.exclude & connection.exclude) == 0.
// So the criteria of one selector must all hold, but for listen_port and peer_port of one selector: a connection has its
// known port on one side only, and either side suffices.
// Where selectors name ports, the ports of OTLP have a bit of their own (`otlpBit`): what goes through them is looked at to know who
// exports traces, and nothing of it is told.
import { parseCgroupPath } from '../enrichment/container.js';
import type { ProcessFacts } from '../enrichment/process-facts.js';
import { executableName, type NameRule, scriptOf } from '../enrichment/service-name.js';
import { compileGlob } from './glob.js';

/** One selector of the config (config/schema.ts); criteria that are absent hold for everything. */
export interface SelectorCriteria {
  readonly pid?: number | undefined;
  readonly exe?: string | undefined;
  readonly script?: string | undefined;
  readonly command?: string | undefined;
  readonly container?: string | undefined;
  readonly listenPort?: readonly PortRange[] | undefined;
  readonly peerPort?: readonly PortRange[] | undefined;
}

interface PortRange {
  readonly first: number;
  readonly last: number;
}

export interface SelectionCriteria {
  readonly include: readonly SelectorCriteria[];
  readonly exclude: readonly SelectorCriteria[];
}

/** Bits of include and of exclude selectors, as unsigned 32-bit numbers. */
export interface Masks {
  readonly include: number;
  readonly exclude: number;
}

export interface CompiledSelection {
  /** Selectors whose process criteria a process meets. */
  processMasks(facts: ProcessFacts): Masks;
  /** Selectors that name a local (listening) port. */
  readonly localPorts: ReadonlyMap<number, Masks>;
  /** Selectors that name a remote port. */
  readonly peerPorts: ReadonlyMap<number, Masks>;
  /** Selectors without port criteria: met by each connection. */
  readonly anyPort: Masks;
  /** Selectors without process criteria: met by a process that nobody has looked at yet. */
  readonly defaultMasks: Masks;
  /** Processes must be looked at: some selector has a criterion that /proc answers. */
  readonly needsFacts: boolean;
  /** Of include masks: looked at for exports of traces only; 0: nothing is. */
  readonly otlpBit: number;
  /** Process ids that selectors name: enough to look at where `needsFacts` is false. */
  readonly pids: ReadonlySet<number>;
}

const SELECTORS_MAX = 32;
/** Left over unless there are as many selectors as there may be: those go before. */
const OTLP_BIT = 0x80000000;
/** Of OTLP over gRPC and HTTP (IANA). */
const OTLP_PORTS = [4317, 4318];
const ID_PREFIX = /^[0-9a-f]{4,64}$/;

/**
 * Compiles the selection. Without include selectors, everything is included (bit 0).
 * @param watchesOtlp whether exports of traces are to be seen where selectors name ports
 * @throws RangeError for more than 32 selectors of a kind, SyntaxError for a malformed `command` (config/check.ts says both better)
 */
export function compileSelection(selection: SelectionCriteria, watchesOtlp = false): CompiledSelection {
  const include = selection.include.length === 0 ? [{}] : selection.include;
  const exclude = selection.exclude;
  if (include.length > SELECTORS_MAX || exclude.length > SELECTORS_MAX) throw new RangeError('more than 32 selectors');
  const all = [...include, ...exclude];
  const includeMatchers = include.map(compileMatcher);
  const excludeMatchers = exclude.map(compileMatcher);
  const onPorts = watchesOtlp && include.length < SELECTORS_MAX ? maskOf(include, selector => !isAnyPort(selector)) : 0;
  const withOtlp = (mask: number): number => ((mask & onPorts) === 0 ? mask : (mask | OTLP_BIT) >>> 0);
  return {
    processMasks: facts => ({
      include: withOtlp(maskOf(includeMatchers, matches => matches === null || matches(facts))),
      exclude: maskOf(excludeMatchers, matches => matches === null || matches(facts)),
    }),
    localPorts: portMasks(include, exclude, selector => selector.listenPort, onPorts !== 0),
    peerPorts: portMasks(include, exclude, selector => selector.peerPort, onPorts !== 0),
    anyPort: { include: maskOf(include, isAnyPort), exclude: maskOf(exclude, isAnyPort) },
    defaultMasks: {
      include: withOtlp(maskOf(includeMatchers, matches => matches === null)),
      exclude: maskOf(excludeMatchers, matches => matches === null),
    },
    needsFacts: all.some(({ exe, script, command, container }) => hasAny([exe, script, command, container])),
    otlpBit: onPorts === 0 ? 0 : OTLP_BIT,
    pids: new Set(all.flatMap(selector => selector.pid ?? [])),
  };
}

/** The selectors whose port criteria a connection to this port meets whose own port is not known. */
export function portCriteria({ anyPort, peerPorts }: CompiledSelection, peerPort: number): Masks {
  const named = peerPorts.get(peerPort);
  if (named === undefined) return anyPort;
  return { include: anyPort.include | named.include, exclude: anyPort.exclude | named.exclude };
}

/** Compiles `resource.service_names` for the process table. Port criteria say nothing about a process and are not looked at. */
export function compileNameRules(
  rules: readonly { readonly match: SelectorCriteria; readonly name: string }[],
): readonly NameRule[] {
  return rules.map(({ match, name }) => ({ name, matches: compileMatcher(match) ?? (() => true) }));
}

type Matcher = (facts: ProcessFacts) => boolean;

/** The process criteria of a selector as one predicate; null if it has none. */
function compileMatcher(selector: SelectorCriteria): Matcher | null {
  const matchers: Matcher[] = [];
  const { pid, exe, script, command, container } = selector;
  if (pid !== undefined) matchers.push(facts => facts.pid === pid);
  if (exe !== undefined) matchers.push(compileExe(exe));
  if (script !== undefined) matchers.push(compileScript(script));
  if (command !== undefined) {
    const expression = new RegExp(command);
    matchers.push(facts => expression.test(facts.args.join(' ')));
  }
  if (container !== undefined) matchers.push(compileContainer(container));
  if (matchers.length === 0) return null;
  return facts => matchers.every(matches => matches(facts));
}

function compileExe(glob: string): Matcher {
  const matches = compileGlob(glob);
  if (glob.includes('/')) return facts => facts.exePath !== '' && matches(facts.exePath);
  return facts => matches(executableName(facts)) || matches(facts.exeName);
}

function compileScript(glob: string): Matcher {
  const matches = compileGlob(glob);
  const isPath = glob.includes('/');
  return facts => {
    const script = scriptOf(facts);
    if (script === '') return false;
    if (isPath) return matches(script) || (!script.startsWith('/') && matches(`${facts.cwd}/${script}`));
    const base = script.slice(script.lastIndexOf('/') + 1);
    return matches(base) || matches(base.replace(/\.\w{1,5}$/, ''));
  };
}

function compileContainer(text: string): Matcher {
  const matches = compileGlob(text);
  const isPrefix = ID_PREFIX.test(text);
  return facts => {
    if (facts.containerId === '') return false;
    if (isPrefix && facts.containerId.startsWith(text)) return true;
    return [parseCgroupPath(facts.cgroup).containerName, facts.pod?.containerName ?? ''].some(
      name => name !== '' && matches(name),
    );
  };
}

function isAnyPort(selector: SelectorCriteria): boolean {
  return !hasAny([selector.listenPort, selector.peerPort]);
}

function hasAny(criteria: readonly unknown[]): boolean {
  return criteria.some(criterion => criterion !== undefined);
}

function portMasks(
  include: readonly SelectorCriteria[],
  exclude: readonly SelectorCriteria[],
  rangesOf: (selector: SelectorCriteria) => readonly PortRange[] | undefined,
  hasOtlp: boolean,
): ReadonlyMap<number, Masks> {
  const masks = new Map<number, Masks>();
  if (hasOtlp) for (const port of OTLP_PORTS) masks.set(port, { include: OTLP_BIT, exclude: 0 });
  const add = (selectors: readonly SelectorCriteria[], side: keyof Masks): void => {
    selectors.forEach((selector, bit) => {
      for (const { first, last } of rangesOf(selector) ?? []) {
        for (let port = first; port <= last; port++) {
          const known = masks.get(port) ?? { include: 0, exclude: 0 };
          masks.set(port, { ...known, [side]: (known[side] | (1 << bit)) >>> 0 });
        }
      }
    });
  };
  add(include, 'include');
  add(exclude, 'exclude');
  return masks;
}

function maskOf<T>(selectors: readonly T[], isMet: (selector: T) => boolean): number {
  let mask = 0;
  selectors.forEach((selector, bit) => {
    if (isMet(selector)) mask |= 1 << bit;
  });
  return mask >>> 0;
}
