// What the programs look at and how much of it they copy: the maps and settings that they read before any other work.
import { SETTINGS_OFFSETS } from '../records/records.gen.js';
import { type Host, type ObjectHandle, WHOLE_MAP } from './host.js';

const FOLLOWED = new Uint8Array([1, 0, 0, 0]);
/** struct java_layout (bpf/maps.h): addresses come first. */
const JAVA_LAYOUT_BYTES = 112;

interface Masks {
  readonly include: number;
  readonly exclude: number;
}

export class KernelFilter {
  readonly #host: Host;
  readonly #maps: ObjectHandle;
  readonly #settings: Uint32Array;
  readonly #key = new Uint8Array(4);
  readonly #keyView = new DataView(this.#key.buffer);
  readonly #value = new Uint8Array(8);
  readonly #valueView = new DataView(this.#value.buffer);

  constructor(host: Host, maps: ObjectHandle) {
    this.#host = host;
    this.#maps = maps;
    this.#settings = new Uint32Array(host.mapMemory(maps, 'settings', 0, WHOLE_MAP));
  }

  /** Which selectors a process meets; takes effect at its next system call. */
  setProcess(pid: number, include: number, exclude: number): void {
    this.#keyView.setUint32(0, pid, true);
    this.#valueView.setUint32(0, include, true);
    this.#valueView.setUint32(4, exclude, true);
    this.#host.mapSet(this.#maps, 'processes', this.#key, this.#value);
    this.bumpSelection();
  }

  /**
   * Its program starts goroutines at the probes: they tell what threads do in others. Until it ends, or runs another. False if too
   * many are followed: its calls have no parent.
   */
  followRoutines(pid: number): boolean {
    this.#keyView.setUint32(0, pid, true);
    if (!this.#put('routine_processes', FOLLOWED)) return false;
    this.bumpSelection();
    return true;
  }

  /**
   * Where its threads keep the ids of what they run. Until it ends, or runs another program. False if too many are followed: what its
   * timers cause has no parent.
   */
  followNode(pid: number, handleAt: number, fieldsAt: number): boolean {
    this.#keyView.setUint32(0, pid, true);
    this.#valueView.setUint32(0, handleAt, true);
    this.#valueView.setUint32(4, fieldsAt, true);
    return this.#put('node_layouts', this.#value);
  }

  /** Where it keeps which virtual threads run. Likewise: its virtual threads' calls have no parent. */
  followVirtualThreads(pid: number, places: readonly number[]): boolean {
    this.#keyView.setUint32(0, pid, true);
    const layout = new Uint8Array(JAVA_LAYOUT_BYTES);
    const view = new DataView(layout.buffer);
    for (const [index, place] of places.entries()) {
      view.setUint32(index * 8, place % 4294967296, true);
      view.setUint32(index * 8 + 4, Math.floor(place / 4294967296), true);
    }
    if (!this.#put('java_layouts', layout)) return false;
    this.bumpSelection();
    return true;
  }

  /** False if the kernel refuses a further entry. */
  #put(map: 'routine_processes' | 'node_layouts' | 'java_layouts', value: Uint8Array): boolean {
    try {
      this.#host.mapSet(this.#maps, map, this.#key, value);
      return true;
    } catch {
      return false;
    }
  }

  removeProcess(pid: number): void {
    this.#keyView.setUint32(0, pid, true);
    this.#host.mapDelete(this.#maps, 'processes', this.#key);
  }

  setPort(map: 'local_ports' | 'peer_ports', port: number, include: number, exclude: number): void {
    this.#keyView.setUint32(0, port, true);
    this.#valueView.setUint32(0, include, true);
    this.#valueView.setUint32(4, exclude, true);
    this.#host.mapSet(this.#maps, map, this.#key, this.#value);
    this.#settings[SETTINGS_OFFSETS.hasPorts / 4] = 1;
  }

  removePort(map: 'local_ports' | 'peer_ports', port: number): void {
    this.#keyView.setUint32(0, port, true);
    this.#host.mapDelete(this.#maps, map, this.#key);
  }

  /** A new program is captured until `setProcess` or `removeProcess` has judged it. */
  setJudgesExec(judges: boolean): void {
    this.#settings[SETTINGS_OFFSETS.judgesExec / 4] = judges ? 1 : 0;
  }

  /** Masks for processes that are not classified, and those of selectors without port criteria. */
  setDefaults(process: Masks, anyPort: Masks): void {
    this.#settings[SETTINGS_OFFSETS.defaultInclude / 4] = process.include;
    this.#settings[SETTINGS_OFFSETS.defaultExclude / 4] = process.exclude;
    this.#settings[SETTINGS_OFFSETS.anyInclude / 4] = anyPort.include;
    this.#settings[SETTINGS_OFFSETS.anyExclude / 4] = anyPort.exclude;
    this.bumpSelection();
  }

  bumpSelection(): void {
    Atomics.add(this.#settings, SETTINGS_OFFSETS.selectionEpoch / 4, 1);
  }

  /** What threads have taken out of queues says nothing from now on. */
  ignoreItems(): void {
    this.#settings[SETTINGS_OFFSETS.ignoresItems / 4] = 1;
  }

  /** Nor does what context or greenlet they were in; takes effect at a thread's next probe. */
  ignoreTasks(): void {
    this.#settings[SETTINGS_OFFSETS.ignoresTasks / 4] = 1;
    this.bumpSelection();
  }

  /** Nor does what task of tokio they were in: likewise. */
  ignoreTokio(): void {
    this.#settings[SETTINGS_OFFSETS.ignoresTokio / 4] = 1;
    this.bumpSelection();
  }

  /** Channels of Go do not show any more whom goroutines work for. */
  ignoreChannels(): void {
    this.#settings[SETTINGS_OFFSETS.ignoresChannels / 4] = 1;
  }

  /** Captured bytes of each run from its next change of direction on. */
  setHeadBytes(bytes: number): void {
    this.#settings[SETTINGS_OFFSETS.headBytes / 4] = bytes;
  }
}
