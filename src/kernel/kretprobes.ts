// Return probes with enough instances. A kretprobe takes an instance for every call under way, also for one that waits in
// recv for minutes, and the kernel's default (10, or two a CPU) makes it skip calls of any server with more threads than
// that. Only tracefs lets their number be set, so the probes are defined there; `kprobe_profile` then counts what was
// skipped all the same. A definition fires nothing by itself; one that a killed agent left behind goes at the next start.
import { appendFileSync, readFileSync } from 'node:fs';
import { reasonOf } from '../errors.js';
import { exists } from '../exists.js';

/** The kernel allows no more (KRETPROBE_MAXACTIVE_MAX). */
const INSTANCES = 4096;
const GROUP = 'underspan';
/** Of the next definition of this thread. */
let serial = 0;
const FOLDERS = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing'];

export class Kretprobes {
  readonly #folder: string | null;
  readonly #events: string[] = [];

  constructor(folders: readonly string[] = FOLDERS) {
    this.#folder = folders.find(folder => exists(`${folder}/kprobe_events`)) ?? null;
  }

  /** Defines a return probe of a kernel function. Its number is what a program is attached to. */
  define(symbol: string): number {
    const folder = this.#folder;
    if (folder === null) {
      throw new Error('tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing): kretprobes need it');
    }
    if (this.#events.length === 0) this.#removeAbandoned(folder);
    const event = `${symbol}_${process.pid}_${serial++}`;
    appendFileSync(`${folder}/kprobe_events`, `r${INSTANCES}:${GROUP}/${event} ${symbol}\n`);
    this.#events.push(event);
    return Number(readFileSync(`${folder}/events/${GROUP}/${event}/id`, 'utf8'));
  }

  /** Returns that were skipped so far, because no instance was left. */
  missed(): number {
    if (this.#folder === null || this.#events.length === 0) return 0;
    let sum = 0;
    for (const line of readFileSync(`${this.#folder}/kprobe_profile`, 'utf8').split('\n')) {
      const [event, , missed] = line.trim().split(/\s+/);
      if (event !== undefined && this.#events.includes(event)) sum += Number(missed);
    }
    return sum;
  }

  /** To be called when nothing is attached to them any more. */
  remove(): void {
    for (const event of this.#events.splice(0)) this.#undefine(event);
  }

  #removeAbandoned(folder: string): void {
    for (const line of readFileSync(`${folder}/kprobe_events`, 'utf8').split('\n')) {
      const match = /^r\d*:underspan\/(\w+_(\d+)_\d+)\s/.exec(line);
      if (match !== null && !exists(`/proc/${match[2]}`)) this.#undefine(match[1] as string);
    }
  }

  #undefine(event: string): void {
    try {
      appendFileSync(`${this.#folder}/kprobe_events`, `-:${GROUP}/${event}\n`);
    } catch (error) {
      throw new Error(`the return probe ${event} cannot be removed: ${reasonOf(error)}`, { cause: error });
    }
  }
}
