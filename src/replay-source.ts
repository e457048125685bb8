// Records from a recording, through the same pipeline, as fast as it goes. Time is the recording's own.
import { Assembly, type Post } from './assembly.js';
import { NO_HOST } from './enrichment/host.js';
import { RecordedSource } from './enrichment/process-facts.js';
import type { ClockState, WorkerStart } from './messages.js';
import type { Pipeline } from './pipeline.js';
import { type RecordedBatch, RecordingReader } from './recording.js';
import { Slab } from './records/dispatch.js';
import type { Source } from './worker.js';

/** Frames between two turns of the event loop. */
const FRAMES_PER_TURN = 64;

export class ReplaySource implements Source {
  readonly #reader: RecordingReader;
  readonly #facts = new RecordedSource();
  readonly #assembly: Assembly;
  readonly #post: Post;
  readonly #feeder: BatchFeeder;
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
    this.#feeder = new BatchFeeder(this.#assembly.pipeline);
    this.#assembly.pipeline.clock.set(header.offsetSeconds, header.offsetNanos);
  }

  async run(): Promise<void> {
    this.#post({ type: 'ready', probes: [], bootNs: this.#nowNs, clock: this.#clockState() });
    while (this.turn()) await new Promise(resolve => setImmediate(resolve));
  }

  /** So many frames. False at the end, when everything has been handed over. */
  turn(most = FRAMES_PER_TURN): boolean {
    for (let frames = 0; frames < most && !this.#isStopped; frames++) if (!this.#step()) this.stop();
    if (this.#isStopped) return false;
    this.#assembly.flush();
    return true;
  }

  /** How far it is: bytes of the recording, and exchanges that have begun. */
  get progress(): { readonly bytes: number; readonly exchanges: number } {
    return { bytes: this.#reader.bytesRead, exchanges: this.#assembly.pipeline.ledger.total.begun };
  }

  /** One frame. False at the end. */
  #step(): boolean {
    const frame = this.#reader.next();
    if (frame === null) return false;
    if ('facts' in frame) {
      this.#facts.add(frame.facts);
      return true;
    }
    if ('clock' in frame) {
      const { fromNs, rate, offsetSeconds, offsetNanos } = frame.clock;
      if (fromNs === 0) this.#assembly.pipeline.clock.set(offsetSeconds, offsetNanos);
      else this.#assembly.pipeline.clock.slew(fromNs, rate);
      return true;
    }
    const { batch } = frame;
    this.#nowNs = batch.nowNs;
    this.#feeder.feed(batch);
    this.#assembly.flushIfMany();
    return true;
  }

  snapshot(id: number): void {
    this.#post({ type: 'snapshot', id, ...this.#snapshot() });
  }

  reload(): void {
    // A recording is read with the configuration that the command began with.
  }

  join(): void {
    // The requests of a recording are not under way on any host.
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#assembly.finish();
    this.#reader.close();
    this.#post({ type: 'stopped', ...this.#snapshot() });
    this.#post({ type: 'ended' });
  }

  #clockState(): ClockState {
    const { clock } = this.#assembly.pipeline;
    return { offsetSeconds: clock.offsetSeconds, offsetNanos: clock.offsetNanos };
  }

  #snapshot(): { families: ReturnType<Assembly['families']>; nowNs: number; clock: ClockState } {
    return { families: this.#assembly.families(this.#nowNs), nowNs: this.#nowNs, clock: this.#clockState() };
  }
}

/** Hands recorded batches to a pipeline as the drain handed them over. */
export class BatchFeeder {
  readonly #pipeline: Pipeline;
  #data = new Slab(0);
  #control = new Slab(0);
  #handedNs = 0;

  constructor(pipeline: Pipeline) {
    this.#pipeline = pipeline;
  }

  feed(batch: RecordedBatch): void {
    this.#data = append(this.#data, batch.data);
    this.#control = append(this.#control, batch.control);
    this.#pipeline.process(this.#data, this.#control, batch.cutNs);
    if (batch.progress.length > 0) this.#pipeline.dispatcher.runOne(new Slab(batch.progress));
    this.#handedNs = Math.max(this.#handedNs, batch.cutNs);
    this.#pipeline.tick(Math.min(this.#handedNs, batch.nowNs), batch.nowNs);
  }
}

/** What is left of a slab, and more behind it. */
function append(slab: Slab, more: Uint8Array): Slab {
  if (slab.at === slab.length) return new Slab(more);
  return new Slab(Buffer.concat([slab.bytes.subarray(slab.at, slab.length), more]));
}
