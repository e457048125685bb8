// Names of Kubernetes containers without asking the API server: the kubelet keeps a link per container in
// /var/log/containers, named POD_NAMESPACE_CONTAINER-ID.log. A container id goes in, the names come out; null where the
// directory is not there (no node, or not mounted). The directory is listed again at most once per interval.
import { readdirSync } from 'node:fs';
import type { PodFacts } from './process-facts.js';

const LINK = /^([a-z0-9.-]{1,253})_([a-z0-9-]{1,63})_([a-z0-9-]{1,63})-([0-9a-f]{64})\.log$/;
const RELIST_MS = 2000;
const ENTRIES_MAX = 16384;

export class PodDirectory {
  readonly #paths: readonly string[];
  readonly #now: () => number;
  #pods = new Map<string, PodFacts>();
  #listedMs = Number.NEGATIVE_INFINITY;

  /**
   * @param paths the first that can be listed counts
   * @param now milliseconds of a monotonic clock
   */
  constructor(
    paths: readonly string[] = ['/var/log/containers', '/proc/1/root/var/log/containers'],
    now: () => number = () => performance.now(),
  ) {
    this.#paths = paths;
    this.#now = now;
  }

  find(containerId: string): PodFacts | null {
    const pod = this.#pods.get(containerId);
    if (pod !== undefined) return pod;
    if (this.#now() - this.#listedMs < RELIST_MS) return null;
    this.#list();
    return this.#pods.get(containerId) ?? null;
  }

  #list(): void {
    this.#listedMs = this.#now();
    const pods = new Map<string, PodFacts>();
    for (const name of this.#names()) {
      const match = LINK.exec(name);
      if (match === null || pods.size >= ENTRIES_MAX) continue;
      const [, podName, namespace, containerName, id] = match as unknown as [string, string, string, string, string];
      pods.set(id, { podName, namespace, containerName });
    }
    this.#pods = pods;
  }

  #names(): readonly string[] {
    for (const path of this.#paths) {
      try {
        return readdirSync(path);
      } catch {
        // Not a Kubernetes node, or not mounted here: the next path is tried, and without any no names are known.
      }
    }
    return [];
  }
}
