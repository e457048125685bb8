// Which way each probe group goes on this kernel. In: the attach table, a forced way, and refusals as they come from
// loading and attaching. Out: the programs of the next attempt, and in the end a report per group. No I/O.
import type { ProbeGroup, ProbeReport, Program, Refusal, Way, WayName } from './probes.js';

/** What is known of a kernel before anything is loaded. */
export interface KernelFacts {
  readonly hasFunction: (name: string) => boolean;
  /** Why no program can go this way at all; '' if that is not known. */
  readonly unavailable: (way: WayName) => string;
  /** Programs at its functions are preempted. */
  readonly isPreempting: boolean;
}

class GroupChoice {
  readonly group: ProbeGroup;
  readonly #ways: readonly Way[];
  readonly #refused: Refusal[] = [];
  #at = 0;

  constructor(group: ProbeGroup, forced: WayName | null, kernel: KernelFacts) {
    this.group = group;
    const isForced = forced !== null && group.ways.some(way => way.name === forced);
    const ways = isForced ? group.ways.filter(way => way.name === forced) : group.ways;
    const reasons = new Map(ways.map(way => [way, kernel.unavailable(way.name)]));
    this.#ways = ways.filter(way => reasons.get(way) === '');
    for (const [way, reason] of reasons) if (reason !== '') this.#refused.push({ way: way.name, reason });
  }

  get way(): Way | null {
    return this.#ways[this.#at] ?? null;
  }

  get hasAlternative(): boolean {
    return this.#at + 1 < this.#ways.length;
  }

  refuse(reason: string): void {
    const { way } = this;
    if (way === null) return;
    this.#refused.push({ way: way.name, reason });
    this.#at++;
  }

  report(): ProbeReport {
    const { name, ways, isRequired, loss } = this.group;
    const { way } = this;
    const rank = (refusal: Refusal): number => ways.findIndex(({ name: other }) => other === refusal.way);
    return {
      group: name,
      way: way?.name ?? null,
      refused: [...this.#refused].sort((a, b) => rank(a) - rank(b)),
      untried: this.#ways.slice(this.#at + 1).map(({ name: other }) => other),
      isRequired,
      loss: way === null ? loss : (way.lacks ?? ''),
    };
  }
}

export class WaySelection {
  readonly #choices: readonly GroupChoice[];
  readonly #kernel: KernelFacts;

  /** `forced` holds for the groups that have a way of this name; the others choose for themselves. */
  constructor(groups: readonly ProbeGroup[], forced: WayName | null, kernel: KernelFacts) {
    this.#choices = groups.map(group => new GroupChoice(group, forced, kernel));
    this.#kernel = kernel;
  }

  /** Programs of the ways at hand. */
  programs(isWanted: (group: ProbeGroup) => boolean = () => true): string[] {
    return this.#choices
      .filter(({ group }) => isWanted(group))
      .flatMap(choice => this.#programsOf(choice).map(({ name }) => name));
  }

  #programsOf(choice: GroupChoice): readonly Program[] {
    const programs = choice.way?.programs ?? [];
    const { hasFunction, isPreempting } = this.#kernel;
    return programs.filter(
      ({ onlyWith, isCopy }) => (onlyWith === undefined || hasFunction(onlyWith)) && (isCopy !== true || isPreempting),
    );
  }

  /** Whether the program's group could still go another way. */
  hasAlternative(program: string): boolean {
    return this.#choiceOf(program)?.hasAlternative ?? false;
  }

  /** The kernel refused a program: its group goes the next way, or loses its feature. */
  refuse(program: string, reason: string): void {
    this.#choiceOf(program)?.refuse(`${program}: ${reason}`);
  }

  /** Why the kernel has not taken a program that has no other way; '' if it has. */
  refusalOf(program: string): string {
    const choice = this.#choices.find(({ group }) =>
      group.ways.some(({ programs }) => programs.some(({ name }) => name === program)),
    );
    const report = choice?.report();
    return report?.way === null ? (report.refused.at(-1)?.reason ?? '') : '';
  }

  /** A group without which nothing works and that has no way left; null if there is none. */
  get blocked(): ProbeReport | null {
    const choice = this.#choices.find(({ group, way }) => group.isRequired && way === null);
    return choice?.report() ?? null;
  }

  reports(): ProbeReport[] {
    return this.#choices.map(choice => choice.report());
  }

  #choiceOf(program: string): GroupChoice | undefined {
    return this.#choices.find(choice => choice.way?.programs.some(({ name }) => name === program));
  }
}
