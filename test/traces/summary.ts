// The correctness table at a glance: by kind of service the lowest share that is right, and what tempting scenarios came to.
// In: rows of the table. Out: rows of a shorter one. Scenarios that are known to be wrong have a column of their own.
import { BETWEEN, BY_ITSELF, cellsOf } from './table.js';
import { isKnownWrong, TEMPTING } from './tempting.js';

const COLUMNS = [
  'services',
  'scenarios',
  'at 1',
  'at 10',
  'at 50',
  'the lowest',
  'that tempt',
  'calls of those',
  'joined',
  'wrong',
  'known to be wrong',
];
export const SUMMARY_HEAD = `| ${COLUMNS.join(' | ')} |\n|${'---|'.repeat(COLUMNS.length)}`;

const TEMPTS = new Set(Object.values(TEMPTING).flat());

class Family {
  readonly ordinary = new Set<string>();
  readonly tempting = new Set<string>();
  /** Lowest share that is right, percent, by how many at a time. */
  readonly lowest = new Map<string, number>();
  /** Of these the lowest, and its scenario. */
  weakest = 100;
  weakestName = '';
  temptingCalls = 0;
  temptingRight = 0;
  /** Highest share that is wrong, percent; likewise of those that are known for that, by scenario. */
  wrong = 0;
  readonly known = new Map<string, number>();

  add(line: string): void {
    const [, scenario = '', load = '', link = '', count = '', right = '', , wrong = ''] = cellsOf(line);
    const share = Number.parseFloat(right);
    if (Number.isNaN(share)) return;
    if (isKnownWrong(scenario)) {
      this.known.set(scenario, Math.max(this.known.get(scenario) ?? 0, Number.parseFloat(wrong)));
      return;
    }
    this.wrong = Math.max(this.wrong, Number.parseFloat(wrong));
    if (link === BETWEEN || link === BY_ITSELF) return;
    if (TEMPTS.has(scenario)) {
      this.tempting.add(scenario);
      this.temptingCalls += Number(count);
      this.temptingRight += (share * Number(count)) / 100;
      return;
    }
    this.ordinary.add(scenario);
    this.lowest.set(load, Math.min(this.lowest.get(load) ?? 100, share));
    if (share >= this.weakest) return;
    this.weakest = share;
    this.weakestName = scenario.slice(scenario.indexOf(',') + 1).trim();
  }

  text(name: string): string {
    const at = ['1', '10', '50'].map(load => (this.lowest.has(load) ? `${this.lowest.get(load)?.toFixed(1)} %` : '-'));
    const joined = this.temptingCalls === 0 ? '-' : `${((100 * this.temptingRight) / this.temptingCalls).toFixed(0)} %`;
    const worst = Math.max(...this.known.values());
    const known = this.known.size === 0 ? '' : `${this.known.size}, up to ${worst.toFixed(1)} %`;
    const tempted = [this.tempting.size, this.temptingCalls, joined];
    return `| ${[name, this.ordinary.size, ...at, this.weakestName, ...tempted, `${this.wrong.toFixed(1)} %`, known].join(' | ')} |`;
  }
}

/** A row for each kind of service, by what its scenarios' names begin with. */
export function summarize(lines: readonly string[]): string[] {
  const families = new Map<string, Family>();
  for (const line of lines) {
    const name = (cellsOf(line)[1] ?? '').split(',')[0] as string;
    const family = families.get(name) ?? new Family();
    families.set(name, family);
    family.add(line);
  }
  return [...families].map(([name, family]) => family.text(name));
}
