// A recording: what the kernel said and what was looked up about processes, enough to run the same pipeline again without
// privileges. A line of JSON (version, clock, where the fields of the records lie), then frames:
//
//   u32 type | u32 length | payload
//   FACTS  one process, JSON; before the batch that first needs it
//   CLOCK  f64 begin | f64 rate | f64 seconds | f64 nanoseconds; a correction of the clock: clock.ts, begin 0 for all times
//   BATCH  f64 now | f64 cut | u32 data | u32 control | u32 progress | u32 0 | the three slabs
//
// A recording of an earlier layout of the records is read as one of today's (records/layout.ts).
// Payloads are what went over the sockets, redacted before they come here (redaction.ts) unless capture.redact is off. The
// file is created readable by its owner only.
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { type ProcessFacts, unknownFacts } from './enrichment/process-facts.js';
import { AgentError, reasonOf } from './errors.js';
import { isSameLayout, LayoutMapper, parseLayout } from './records/layout.js';
import { RECORD_LAYOUT } from './records/records.gen.js';

const MAGIC = 'underspan recording';
const FRAME_FACTS = 1;
const FRAME_BATCH = 2;
const FRAME_CLOCK = 3;
const FRAME_HEADER_BYTES = 8;
const BATCH_HEADER_BYTES = 32;
const CLOCK_BYTES = 32;
const HEADER_MAX_BYTES = 65536;
const FRAME_MAX_BYTES = 64 << 20;

export interface RecordingHeader {
  readonly version: string;
  readonly offsetSeconds: number;
  readonly offsetNanos: number;
  readonly headBytes: number;
  /** Boot-clock nanoseconds of the start. */
  readonly startNs: number;
}

export interface RecordedBatch {
  readonly nowNs: number;
  /** Records up to this moment were handed over, newer ones with a later batch. */
  readonly cutNs: number;
  readonly data: Uint8Array;
  readonly control: Uint8Array;
  readonly progress: Uint8Array;
}

/** A correction of the clock: the offset at boot time `fromNs` (0: for all times), and how it grows from there. */
export interface RecordedClock {
  readonly fromNs: number;
  /** Nanoseconds per nanosecond. */
  readonly rate: number;
  readonly offsetSeconds: number;
  readonly offsetNanos: number;
}

export type RecordedFrame =
  | { readonly facts: ProcessFacts }
  | { readonly batch: RecordedBatch }
  | { readonly clock: RecordedClock };

export class RecordingWriter {
  bytesWritten = 0;
  readonly #fd: number;
  readonly #frame = Buffer.alloc(FRAME_HEADER_BYTES + BATCH_HEADER_BYTES);

  constructor(file: string, header: RecordingHeader) {
    try {
      this.#fd = openSync(file, 'w', 0o600);
    } catch (error) {
      throw new AgentError('RECORDING_UNWRITABLE', { file, reason: reasonOf(error) }, { cause: error });
    }
    this.#write(Buffer.from(`${JSON.stringify({ format: MAGIC, layout: RECORD_LAYOUT, ...header })}\n`));
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    this.bytesWritten += bytes.length;
  }

  facts(facts: ProcessFacts): void {
    const json = Buffer.from(JSON.stringify(facts));
    this.#frame.writeUInt32LE(FRAME_FACTS, 0);
    this.#frame.writeUInt32LE(json.length, 4);
    this.#write(this.#frame.subarray(0, FRAME_HEADER_BYTES));
    this.#write(json);
  }

  clock(clock: RecordedClock): void {
    const frame = this.#frame;
    frame.writeUInt32LE(FRAME_CLOCK, 0);
    frame.writeUInt32LE(CLOCK_BYTES, 4);
    frame.writeDoubleLE(clock.fromNs, 8);
    frame.writeDoubleLE(clock.rate, 16);
    frame.writeDoubleLE(clock.offsetSeconds, 24);
    frame.writeDoubleLE(clock.offsetNanos, 32);
    this.#write(frame.subarray(0, FRAME_HEADER_BYTES + CLOCK_BYTES));
  }

  batch(batch: RecordedBatch): void {
    const { data, control, progress } = batch;
    const frame = this.#frame;
    frame.writeUInt32LE(FRAME_BATCH, 0);
    frame.writeUInt32LE(BATCH_HEADER_BYTES + data.length + control.length + progress.length, 4);
    frame.writeDoubleLE(batch.nowNs, 8);
    frame.writeDoubleLE(batch.cutNs, 16);
    frame.writeUInt32LE(data.length, 24);
    frame.writeUInt32LE(control.length, 28);
    frame.writeUInt32LE(progress.length, 32);
    frame.writeUInt32LE(0, 36);
    this.#write(frame);
    this.#write(data);
    this.#write(control);
    this.#write(progress);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

export class RecordingReader {
  readonly header: RecordingHeader;
  readonly bytesTotal: number;
  /** Bytes read so far. */
  bytesRead: number;
  readonly #file: string;
  readonly #fd: number;
  /** Null: the records have today's layout. */
  #mapper: LayoutMapper | null = null;

  constructor(file: string) {
    this.#file = file;
    try {
      this.#fd = openSync(file, 'r');
    } catch (error) {
      throw new AgentError('RECORDING_UNREADABLE', { file, reason: reasonOf(error) }, { cause: error });
    }
    try {
      this.bytesTotal = fstatSync(this.#fd).size;
      const line = this.#readLine();
      this.header = this.#parseHeader(line.toString('utf8'));
      this.bytesRead = line.length + 1;
    } catch (error) {
      closeSync(this.#fd);
      if (error instanceof AgentError) throw error;
      throw new AgentError('RECORDING_UNREADABLE', { file, reason: reasonOf(error) }, { cause: error });
    }
  }

  /** The first line; nothing if there is none of a possible length. */
  #readLine(): Buffer {
    const start = Buffer.alloc(Math.min(HEADER_MAX_BYTES, this.bytesTotal));
    const got = readSync(this.#fd, start, 0, start.length, 0);
    return start.subarray(0, Math.max(0, start.subarray(0, got).indexOf(10)));
  }

  #parseHeader(line: string): RecordingHeader {
    let parsed: { format?: unknown; layout?: unknown } & Partial<RecordingHeader>;
    try {
      parsed = (JSON.parse(line) ?? {}) as typeof parsed;
    } catch {
      throw this.#invalid('it does not begin like one');
    }
    if (parsed.format !== MAGIC) throw this.#invalid('it does not begin like one');
    const layout = parseLayout(parsed.layout);
    if (layout === null) throw this.#invalid('it does not say how its records are laid out');
    if (!isSameLayout(layout, RECORD_LAYOUT)) this.#mapper = new LayoutMapper(layout);
    const { version, offsetSeconds, offsetNanos, headBytes, startNs } = parsed;
    if (
      typeof offsetSeconds !== 'number' ||
      typeof offsetNanos !== 'number' ||
      typeof headBytes !== 'number' ||
      typeof startNs !== 'number'
    ) {
      throw this.#invalid('its header is incomplete');
    }
    return { version: String(version), offsetSeconds, offsetNanos, headBytes, startNs };
  }

  #invalid(reason: string): AgentError {
    return new AgentError('RECORDING_INVALID', { file: this.#file, reason });
  }

  /** The next frame; null at the end. A recording that was cut off ends at its last whole frame. */
  next(): RecordedFrame | null {
    const header = this.#read(FRAME_HEADER_BYTES);
    if (header === null) return null;
    const type = header.readUInt32LE(0);
    const length = header.readUInt32LE(4);
    if (length > FRAME_MAX_BYTES) throw this.#invalid(`a frame of ${length} bytes at ${this.bytesRead}`);
    const payload = this.#read(length);
    if (payload === null) return null;
    if (type === FRAME_FACTS) return { facts: this.#parseFacts(payload.toString('utf8')) };
    if (type === FRAME_BATCH && length >= BATCH_HEADER_BYTES) return { batch: this.#batch(payload) };
    if (type === FRAME_CLOCK && length >= CLOCK_BYTES) return { clock: this.#clock(payload) };
    throw this.#invalid(`a frame of type ${type} at ${this.bytesRead}`);
  }

  #clock(payload: Buffer): RecordedClock {
    const [fromNs, rate, offsetSeconds, offsetNanos] = [0, 8, 16, 24].map(at => payload.readDoubleLE(at)) as [
      number,
      number,
      number,
      number,
    ];
    const isSane = [fromNs, rate, offsetSeconds, offsetNanos].every(Number.isFinite) && Math.abs(rate) < 1;
    if (!isSane) throw this.#invalid(`a clock that does not rise before ${this.bytesRead}`);
    return { fromNs, rate, offsetSeconds, offsetNanos };
  }

  #parseFacts(text: string): ProcessFacts {
    let parsed: Readonly<Record<string, unknown>>;
    try {
      parsed = (JSON.parse(text) ?? {}) as typeof parsed;
    } catch {
      throw this.#invalid(`facts that are no JSON before ${this.bytesRead}`);
    }
    if (typeof parsed.pid !== 'number') throw this.#invalid(`facts of no process before ${this.bytesRead}`);
    const defaults = unknownFacts(parsed.pid);
    for (const [name, value] of Object.entries(defaults)) {
      const found = parsed[name];
      const isOfItsKind = typeof found === typeof value && Array.isArray(found) === Array.isArray(value);
      if (found !== undefined && (!isOfItsKind || (found === null && value !== null))) {
        throw this.#invalid(`facts with a strange ${name} before ${this.bytesRead}`);
      }
    }
    return { ...defaults, ...parsed };
  }

  #batch(payload: Buffer): RecordedBatch {
    const data = payload.readUInt32LE(16);
    const control = payload.readUInt32LE(20);
    const progress = payload.readUInt32LE(24);
    if (BATCH_HEADER_BYTES + data + control + progress !== payload.length)
      throw this.#invalid('a batch has the wrong size');
    const from = BATCH_HEADER_BYTES;
    return {
      nowNs: payload.readDoubleLE(0),
      cutNs: payload.readDoubleLE(8),
      data: this.#today(payload.subarray(from, from + data)),
      control: this.#today(payload.subarray(from + data, from + data + control)),
      progress: this.#today(payload.subarray(from + data + control)),
    };
  }

  #today(records: Uint8Array): Uint8Array {
    return this.#mapper === null ? records : this.#mapper.map(records);
  }

  #read(length: number): Buffer | null {
    const buffer = Buffer.alloc(length);
    let at = 0;
    while (at < length) {
      const got = readSync(this.#fd, buffer, at, length - at, this.bytesRead + at);
      if (got === 0) return null;
      at += got;
    }
    this.bytesRead += length;
    return buffer;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
