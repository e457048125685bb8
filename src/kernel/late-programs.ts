// Programs for files that not every machine has (probes.ts, isLate): the verifier walks them for half a second a language, so
// they are loaded when the first such file is found, in a thread aside, while the rings are emptied. What the kernel refuses
// costs its group. Bounded by the groups.
import { type KernelAbilities, openPrograms, reasonFrom, refusedIn } from './bpf-object.js';
import type { Host, ObjectHandle, ProgramInfo } from './host.js';
import { PROBE_GROUPS } from './probes.js';

/** Group by program. */
const GROUPS: ReadonlyMap<string, string> = new Map(
  PROBE_GROUPS.filter(({ isLate }) => isLate === true).flatMap(({ name, ways }) =>
    ways.flatMap(({ programs }) => programs.map(program => [program.name, name] as const)),
  ),
);

interface LateGroup {
  /** Null if not even that could be had. */
  readonly object: ObjectHandle | null;
  state: 'loading' | 'loaded' | 'refused';
}

export interface LateOptions {
  readonly host: Host;
  readonly maps: ObjectHandle;
  readonly btfPath: string;
  readonly abilities: KernelAbilities;
  /** The programs of a group on this kernel; none if the group has been refused. */
  readonly programsOf: (group: string) => readonly string[];
  readonly onRefused: (program: string, reason: string) => void;
}

export class LatePrograms {
  readonly #options: LateOptions;
  readonly #groups = new Map<string, LateGroup>();

  constructor(options: LateOptions) {
    this.#options = options;
  }

  /** Is the program loaded, or refused? If not, its group will be. */
  isSettled(program: string): boolean {
    const group = GROUPS.get(program);
    if (group === undefined) return true;
    const late = this.#groups.get(group);
    if (late !== undefined) return this.#look(group, late);
    const programs = this.#options.programsOf(group);
    if (programs.length === 0) return true;
    this.#begin(group, programs);
    return false;
  }

  /** Where a late program is; null if it is none, or not loaded. */
  objectOf(program: string): ObjectHandle | null {
    const late = this.#groups.get(GROUPS.get(program) ?? '');
    return late?.state === 'loaded' ? late.object : null;
  }

  /** Those that are loaded. */
  programs(): ProgramInfo[] {
    const { host } = this.#options;
    return [...this.#groups.values()].flatMap(({ object, state }) =>
      object !== null && state === 'loaded' ? host.programs(object).filter(({ id }) => id > 0) : [],
    );
  }

  close(): void {
    for (const { object } of this.#groups.values()) if (object !== null) this.#options.host.close(object);
    this.#groups.clear();
  }

  #begin(group: string, programs: readonly string[]): void {
    const { host, maps, btfPath, abilities, onRefused } = this.#options;
    let object: ObjectHandle | null = null;
    try {
      object = openPrograms(host, maps, btfPath, programs, abilities);
      host.loadAside(object);
      this.#groups.set(group, { object, state: 'loading' });
    } catch (error) {
      // Out of descriptors, memory or threads: it costs the group, not the agent.
      this.#groups.set(group, { object, state: 'refused' });
      onRefused(programs[0] as string, reasonFrom(error as Error, ''));
    }
  }

  #look(group: string, late: LateGroup): boolean {
    if (late.object === null || late.state !== 'loading') return true;
    const { host, onRefused, programsOf } = this.#options;
    try {
      if (!host.isLoaded(late.object)) return false;
      late.state = 'loaded';
    } catch (error) {
      late.state = 'refused';
      const log = host.log();
      onRefused(refusedIn(log)[0] ?? (programsOf(group)[0] as string), reasonFrom(error as Error, log));
    }
    return true;
  }
}
