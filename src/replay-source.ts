// Records from a recording, through the same pipeline, as fast as it goes. Time is the recording's own.
import { Assembly, type Post } from './assembly.js';
import { NO_HOST } from './enrichment/host.js';
import { RecordedSource } from './enrichment/process-facts.js';
import type { ClockState, WorkerStart } from './messages.js';
import { RecordingReader } from './recording.js';
import { Slab } from './records/dispatch.js';
import type { Source } from './worker.js';

/** Frames between two turns of the event loop. */
const FRAMES_PER_TURN = 64;

export class ReplaySource implements Source {
  readonly #reader: RecordingReader;
  readonly #facts = new RecordedSource();
  readonly #assembly: Assembly;
  readonly #post: Post;
  #control = new Slab(0);
  #nowNs: number;
  #isStopped = false;

  constructor(start: WorkerStart, post: Post) {
    this.#post = post;
    this.#reader = new RecordingReader(start.file as string);
    const { header } = this.#reader;
    this.#nowNs = header.startNs;
    this.#assembly = new Assembly(
      {
        start,
        host: NO_HOST,
        source: this.#facts,
        startNs: header.startNs,
        headBytes: header.headBytes,
        setVerdict: () => {
          // The recorded kernel has had its verdicts.
        },
        evict: () => {
          // Likewise.
        },
        onProcess: () => {
          // The recording holds what was selected.
        },
      },
      post,
    );
    this.#assembly.pipeline.clock.set(header.offsetSeconds, header.offsetNanos);
  }

  async run(): Promise<void> {
    this.#post({ type: 'ready', probes: [], bootNs: this.#nowNs, clock: this.#clockState() });
    while (!this.#isStopped) {
      for (let frames = 0; frames < FRAMES_PER_TURN; frames++) {
        if (!this.#step()) {
          this.stop();
          return;
        }
      }
      this.#assembly.flush();
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  /** One frame. False at the end. */
  #step(): boolean {
    const frame = this.#reader.next();
    if (frame === null) return false;
    if ('facts' in frame) {
      this.#facts.add(frame.facts);
      return true;
    }
    const { batch } = frame;
    const { pipeline } = this.#assembly;
    this.#nowNs = batch.nowNs;
    if (this.#control.isEmpty) this.#control = new Slab(batch.control);
    pipeline.process(new Slab(batch.data), this.#control, batch.isDataComplete);
    if (batch.progress.length > 0) pipeline.dispatcher.runOne(new Slab(batch.progress));
    pipeline.tick(batch.nowNs);
    this.#assembly.flushIfMany();
    return true;
  }

  snapshot(id: number): void {
    this.#post({ type: 'snapshot', id, ...this.#snapshot() });
  }

  reload(): void {
    // A recording is read with the configuration that the command began with.
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#assembly.flush(this.#assembly.pipeline.finish());
    this.#reader.close();
    this.#post({ type: 'stopped', ...this.#snapshot() });
  }

  #clockState(): ClockState {
    const { clock } = this.#assembly.pipeline;
    return { offsetSeconds: clock.offsetSeconds, offsetNanos: clock.offsetNanos };
  }

  #snapshot(): { families: ReturnType<Assembly['families']>; nowNs: number; clock: ClockState } {
    return { families: this.#assembly.families(this.#nowNs), nowNs: this.#nowNs, clock: this.#clockState() };
  }
}
